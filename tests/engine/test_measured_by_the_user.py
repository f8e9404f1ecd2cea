"""A Sized framing of the user's, whose `measure` does what it should not: both engines agree, and
no connection meets what another one has done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from epollo.engine import EventLoop
from epollo.errors import FrameCorrupt
from epollo.framing import Sized
from epollo.framing.sized import Header
from tests.engine.support import Protocol, attached, turn_until
from tests.engines import Engine
from tests.logs import Log


@pytest.fixture
def loop(engine: Engine) -> Iterator[EventLoop]:
    loop = engine.loop()
    yield loop
    loop.close()


class Pairs(Sized):
    """Frames of two bytes; one that begins with ``!`` is up to the test."""

    def __init__(self, name: str = "pairs", **options: Any) -> None:
        super().__init__(name, **options)
        self.bad = FrameCorrupt

    def measure(self, header: Header) -> int | None:
        if header[0] == ord("!"):
            raise self.bad("bad")
        return 2


def serving(framing: Sized, received: Any) -> Protocol:
    protocol = Protocol(received)
    protocol.framing = framing
    return protocol


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("bad", [FrameCorrupt, ValueError])
def test_messages_before_an_error_of_it_are_delivered(
    loop: EventLoop, *, pause: bool, bad: Any
) -> None:
    framing, got = Pairs(), list[bytes]()
    framing.bad = bad

    def received(message: bytes, connection: Any) -> None:
        got.append(message)
        if pause and len(got) == 1:
            connection.pause_reading()
            loop.call_later(0, connection.resume_reading)

    protocol = serving(framing, received)
    with attached(loop, protocol) as (peer, connection):
        peer.sendall(b"abcdef!x")
        turn_until(loop, lambda: connection.closed and protocol.error)
    assert got == [b"ab", b"cd", b"ef"]
    assert type(protocol.error) is bad


def test_an_error_of_one_connection_is_not_anothers(loop: EventLoop, log: Log) -> None:
    class Changing(Pairs):
        def measure(self, header: Header) -> int | None:
            if connections and header[0] == ord("!"):
                connections.pop().abort()
                header.append(1)
                return 2
            return super().measure(header)

    connections: list[Any] = []
    protocol = serving(Changing(), lambda *_: None)
    with attached(loop, protocol) as (first, connection):
        turn_until(loop, lambda: "connected" in protocol.events)
        connections.append(connection)
        first.sendall(b"!x")
        turn_until(loop, lambda: "local" in protocol.events)
    with attached(loop, protocol) as (second, _):
        second.sendall(b"!x")
        turn_until(loop, lambda: "bad_frame" in protocol.events)
    log.take()  # the bug of this framing


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("stream", [b"abcd!xef", b"!x", b"!"], ids=["behind", "whole", "part"])
def test_an_interrupt_of_it_is_raised(
    loop: EventLoop, stream: bytes, log: Log, *, closes: bool
) -> None:
    """Such as that of a signal handler, which is not raised again for the same bytes."""

    class Interrupted(Pairs):
        def measure(self, header: Header) -> int | None:
            if interrupts and header[0] == ord("!"):
                if closes:
                    connection.abort()
                raise interrupts.pop()
            return 2

    got: list[bytes] = []
    interrupts: list[BaseException] = [KeyboardInterrupt()]
    protocol = serving(Interrupted(), lambda message, _: got.append(message))
    with attached(loop, protocol) as (peer, connection):
        peer.sendall(stream)
        with pytest.raises(KeyboardInterrupt):
            turn_until(loop, lambda: False)
    assert protocol.events == ["connected", "local" if closes else "handler_error"]
    assert closes or b"".join(got) == stream.partition(b"!")[0]
    if closes:
        assert log.take() == ["handler raised after its connection was closed"]


def test_a_framing_that_changes_meanwhile_loses_nothing(loop: EventLoop) -> None:
    class Changing(Sized):
        def measure(self, header: Header) -> int | None:
            if connections and ord("?") in header:
                connections.pop().framing = "u16"
            return None if len(header) < 4 else 4

    connections: list[Any] = []
    got: list[bytes] = []
    protocol = serving(Changing("changing"), lambda message, _: got.append(message))
    with attached(loop, protocol) as (peer, connection):
        turn_until(loop, lambda: "connected" in protocol.events)
        connections.append(connection)
        peer.sendall(b"\0\1?")
        turn_until(loop, lambda: not connections)
        peer.sendall(b"\0\1z")
        turn_until(loop, lambda: b"z" in got)
    assert got == [b"?", b"z"]


def test_a_header_that_is_kept_and_lengthened_is_over_the_limit(loop: EventLoop) -> None:
    """It is longer than any frame may be when the next bytes come."""
    kept: list[Header] = []

    class Keeping(Sized):
        def measure(self, header: Header) -> int | None:
            kept.append(header)
            return None

    protocol = serving(Keeping("keeping", max_frame=1000), lambda *_: None)
    with attached(loop, protocol) as (peer, _):
        peer.sendall(bytes(200))
        turn_until(loop, lambda: kept and len(kept[-1]) == 200)
        kept[-1].extend(bytes(5000))
        peer.sendall(bytes(100))
        turn_until(loop, lambda: protocol.error)
    assert protocol.events[-1] == "frame_too_large"
