"""The native engine's system calls go through a library that stands in for the C library's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from epollo.engine import available
from tests.support import DEADLINE, Peer, frame

ROOT = Path(__file__).parents[2]
ASKED = 42

if "native" not in available():
    pytest.skip("the native engine is not built", allow_module_level=True)

SERVER = """
import socket, sys
from epollo.engine import new_loop
from tests.engine.support import Protocol

loop, protocol = new_loop("native"), Protocol()
listener = socket.socket(fileno=int(sys.argv[1]))
loop.listen(listener, lambda accepted: loop.attach(accepted, protocol), print)
while len(protocol.events) < 2:
    loop.poll()
"""


def serve(env: dict[str, str]) -> tuple[int, int]:
    """How many of a small and a large message a server echoes, and its exit status."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", SERVER, str(listener.fileno())]
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env, pass_fds=[listener.fileno()]
        )
        host, port = listener.getsockname()
    echoed = 0
    try:
        with Peer(f"{host}:{port}") as peer:
            for message in (b"small", bytes(512 << 10)):  # more than a read
                peer.send(frame(message))
                if peer.receive(4 + len(message)) != frame(message):
                    break
                echoed += 1
    except OSError:  # the server has ended
        pass
    return echoed, server.wait(DEADLINE)


@pytest.mark.parametrize("name", ["recv", "send", "sendmsg", "readv", "accept4", "epoll_wait"])
def test_a_preloaded_library_is_asked(name: str, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build a library with")
    library, source = tmp_path / "library.so", tmp_path / "library.c"
    source.write_text(f"void _exit(int); long {name}(void) {{ _exit({ASKED}); return 0; }}\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    others = os.environ.get("LD_PRELOAD", "")  # a sanitizer's has to be the first
    assert serve({"LD_PRELOAD": f"{others} {library}"})[1] == ASKED


def test_without_one_both_messages_are_echoed() -> None:
    assert serve({}) == (2, 0)
