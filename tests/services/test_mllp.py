"""hl7's mllp_send speaks to the HL7 receiver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.services.support import client, complaints, example, output, port
from tests.support import Peer, ServerProcess

pytestmark = pytest.mark.services

MESSAGES = [
    b"MSH|^~\\&|LAB|NORTH|EHR|SOUTH|20260102030405||ADT^A01|%d|P|2.5\r"
    b"PID|1||12345^^^NORTH||M\xc3\xbcller^Jane\r" % number
    for number in range(3)
]


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[ServerProcess]:
    with example(engine, "mllp:Inbox", "--framing", "mllp", cwd=tmp_path) as server:
        yield server
        assert complaints(server) == []


def send(server: ServerProcess, file: Path, *flags: str) -> list[str]:
    """The segments that mllp_send prints."""
    mllp_send = client("mllp_send", "hl7")
    printed = output(mllp_send, "--port", port(server), *flags, "--file", str(file), "127.0.0.1")
    return printed.replace("\r", "\n").replace("\x0b", "").split("\n")


def test_messages_are_acknowledged_and_stored_once(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(b"\x0b" + message + b"\x1c\r" for message in MESSAGES))
    for _ in range(2):
        segments = send(server, file)
        answers = [segment for segment in segments if segment.startswith("MSA")]
        assert answers == ["MSA|AA|0|", "MSA|AA|1|", "MSA|AA|2|"]
        assert all("|EHR|SOUTH|LAB|NORTH|" in line for line in segments if line[:3] == "MSH")
    stored = [stored.read_bytes() for stored in (tmp_path / "inbox").iterdir()]
    assert sorted(stored) == [message.rstrip(b"\r") for message in MESSAGES]  # as it was sent


def test_text_that_people_edit_is_sent_loosely(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "message.txt"
    file.write_bytes(MESSAGES[0].replace(b"\r", b"\n"))
    with Peer(server.address) as peer:
        peer.send(MESSAGES[0])  # without the byte at the start, which ends this connection only
        assert peer.receive_until_gone() == b""
        assert "MSA|AA|0|" in send(server, file, "--loose")
