"""README is true: its examples run. Its commands, links and settings: `test_docs.py`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from epollo import Server, framing
from epollo.testing import check_framing
from tests.documents import ROOT, Document
from tests.support import Peer, frame, python

README = Document(ROOT / "README.md")
HELLO, CLIENT, COUNTING, METER, EMBEDDED, BENCH = README.python_blocks


def run(code: str) -> str:
    """What ``code`` prints, run by an interpreter of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_server_in_ten_lines_and_its_client(tmp_path: Path) -> None:
    assert len([line for line in HELLO.splitlines() if line.strip()]) <= 10
    (tmp_path / "hello.py").write_text(HELLO.replace("8091", "0"))
    with python(str(tmp_path / "hello.py")) as server:
        assert server.ready_line.startswith("epollo: serving handle on 127.0.0.1:")
        printed = run(CLIENT.replace("127.0.0.1:8091", server.address))
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert printed == "b'hello, world'\n"
    assert "# b'hello, world'" in CLIENT


def test_the_handler_object(capfd: pytest.CaptureFixture[str]) -> None:
    names: dict[str, type] = {}
    exec(COUNTING, names)  # noqa: S102
    with Server(names["Counting"](), "127.0.0.1:0") as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"1: one"
        peer.send(frame(b"two"))
        peer.end()
        assert peer.receive_all() == frame(b"2: two")
    assert capfd.readouterr().out.endswith("sent 2 and ended with eof\n")


def test_the_framing_of_ones_own() -> None:
    names: dict[str, type[framing.Framing]] = {}
    exec(METER, names)  # noqa: S102
    meter = names["Meter"]
    check_framing(meter, frames=[b"\xaa\x02ok"], messages=[b"\xaa\x02ok"])
    with Server(bind="127.0.0.1:0", framing=meter) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"\xaa\x05hel")
        peer.send(b"lo\xaa\x00")
        peer.end()
        assert peer.receive_all() == b"\xaa\x05hello\xaa\x00"


def test_the_embedded_server() -> None:
    run(EMBEDDED)


def test_the_load_test_from_python() -> None:
    assert re.fullmatch(r"[\d,]+ messages a second, p99 [\d.]+ ms\n", run(BENCH))


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(
        r"make ([a-z]+)\b", README.text + (ROOT / "CONTRIBUTING.md").read_text()
    ):
        assert f"\n{target}:" in makefile, target
