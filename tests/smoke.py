"""Does an installed epollo serve on its native engine? A program of its own, for a wheel that was
just installed: `python -I tests/smoke.py`. It needs nothing but epollo."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory

import epollo
from epollo.engine import available

COMPILERS = ("cc", "gcc", "clang", "c++")
COMMAND = str(Path(sysconfig.get_path("scripts"), "epollo"))
DEADLINE = 60.0  # seconds, for each step


def main() -> None:
    """Serve, ask, load, stop; an assertion says what failed."""
    assert Path(epollo.__file__).is_relative_to(sysconfig.get_path("platlib")), epollo.__file__
    assert available()[0] == "native", available()
    serve = [COMMAND, "serve", "--bind", "127.0.0.1:0", "--engine", "native"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = server.stdout.readline()
            assert "(native engine, epoll, framing u32, 1 worker)" in ready, ready
            address = ready.split(" on ")[1].split(" ")[0]
            with epollo.connect(address, timeout=DEADLINE) as client:
                assert client.request(b"hello") == b"hello"
            _load(address)
            server.send_signal(signal.SIGTERM)
            assert server.wait(DEADLINE) == 0, server.returncode
        finally:
            server.kill()
    without = "" if any(map(shutil.which, COMPILERS)) else ", without a compiler"
    print(f"epollo {epollo.__version__} serves on {sys.version.split()[0]}, native engine{without}")


def _load(address: str) -> None:
    with TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        bench = [COMMAND, "bench", address, "-n", "1000", "-c", "10", "--warmup", "0"]
        run = [*bench, "--fail-if", "errors>0", "--json", str(result)]
        subprocess.run(run, check=True, timeout=DEADLINE, stdout=subprocess.DEVNULL)
        assert json.loads(result.read_text())["messages"] == 1000


if __name__ == "__main__":
    main()
