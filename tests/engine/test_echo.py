"""A message that goes back as it came: by every framing, in the frame that this encodes."""

from __future__ import annotations

import pytest

from epollo import Connection
from epollo.framing import Header, Sized, parse
from tests.engines import Engine
from tests.framing.vectors import VECTORS
from tests.logs import Log
from tests.support import Peer


class LooksAhead(Sized):
    """Tells the size of its frames only with bytes of the next ones."""

    def measure(self, header: Header) -> int | None:
        return 2 if len(header) >= 4 else None


class LooksFarAhead(Sized):
    """The same with a byte that tells how many more it needs."""

    def measure(self, header: Header) -> int | None:
        return 3 if len(header) >= 3 + header[0] else None


def echo(message: bytes, connection: Connection) -> bytes:
    return message


STREAMS = {spec: b"".join(bytes.fromhex(frame) for frame, _ in VECTORS[spec]) for spec in VECTORS}
STREAMS |= {
    "raw": b"abc",
    "fixed:2": b"abcd",
    "line": b"a\n\nb\r\n\r\nc\rd\n",
    "line(end=crlf)": b"a\n\nb\r\nc\r\r\n",
    "delimiter:--": b"a----b-c--",
    "delimiter:123456789": b"a123456789" * 2,
    "delimiter(end=1,start=1)": b"1a1111b1",
    "delimiter(end=--,start=123456789)": b"123456789a--123456789--",
    "length(size=3,strip=3)": b"\0\0\1a\0\0\0\0\0\1b",
    "varint(offset=1)": b"\1\0\2\x80\0\3\x01a",
    "digits(offset=1,end=:)": b"a1:bc0:",
    "netstring": b"1:a,0:,",
}


@pytest.mark.parametrize("spec", STREAMS)
def test_a_message_goes_back_in_its_frame(engine: Engine, spec: str) -> None:
    framing = parse(spec)
    messages = framing.decoder().feed(STREAMS[spec])
    assert messages
    frames = b"".join(framing.encode(message) for message in messages)
    with engine.server(echo, framing=spec) as server, Peer(server.addresses[0]) as peer:
        for _ in range(3):  # the second time, frames are like earlier ones
            peer.send(STREAMS[spec])
            assert peer.receive(len(frames)) == frames


def test_a_line_that_would_lose_its_end_is_refused(engine: Engine, log: Log) -> None:
    with engine.server(echo, framing="line") as server, Peer(server.addresses[0]) as peer:
        peer.send(b"ab\na\r\r\n")
        assert peer.receive_all() == b"ab\n"
    assert "raised, closed" in log.take()[0]


def test_another_message_is_checked_as_ever(engine: Engine, log: Log) -> None:
    with (
        engine.server(lambda message: message + b"\0", framing="gelf") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"a\0")
        assert peer.receive_all() == b""
    assert "raised, closed" in log.take()[0]


def test_a_frame_that_cannot_be_told_from_itself_is_refused(engine: Engine, log: Log) -> None:
    with (
        engine.server(echo, framing=LooksAhead("ahead")) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"abcd")
        assert peer.receive_all() == b""
    assert "raised, closed" in log.take()[0]


@pytest.mark.parametrize("ahead", [1, 5, 61, 100])
@pytest.mark.parametrize("whole", [True, False])
def test_a_frame_of_a_user_is_refused_unless_it_tells_its_own_size(
    engine: Engine, log: Log, ahead: int, whole: bool
) -> None:
    good, bad = b"\0ab", bytes([ahead]) + b"cd"
    with (
        engine.server(echo, framing=LooksFarAhead("ahead")) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(good * 20)  # what is known of these does not hold for the next one
        assert peer.receive(60) == good * 20
        stream = good + bad + good * 40
        if not whole:
            peer.send(stream[:4])
            assert peer.receive(3) == good
            stream = stream[4:]
        peer.send(stream)
        assert peer.receive_all() == (good if whole else b"")
    assert "raised, closed" in log.take()[0]


def test_a_frame_of_a_user_goes_back_behind_one_that_looked_ahead(engine: Engine) -> None:
    framing = LooksFarAhead("ahead")
    frames = [b"\0ab" * 2, b"\2cd" + b"\0ab"]

    def first(message: bytes) -> bytes | None:
        return message if message[0] == 0 else None

    with engine.server(first, framing=framing) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frames) * 20)
        assert peer.receive(9 * 20) == b"\0ab" * 60
