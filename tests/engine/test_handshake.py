"""Filters are established, one after the other, before a connection is."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection
from epollo.engine import Bounds, EngineConnection, EventLoop
from epollo.errors import ProxyError
from epollo.filters.base import Filter
from tests.engine.support import Protocol, turn_until
from tests.support import DEADLINE, frame


class Password:
    """Asks for a word and waits for it; then, where it stays, it changes every byte."""

    fault = ProxyError
    ended = False
    partial = False
    tls = None

    def __init__(
        self,
        word: bytes,
        handshake_only: bool = True,
        question: bytes = b"?",
        speaks_first: bool = False,
    ) -> None:
        self.timeout = DEADLINE
        self.speaks_first = speaks_first
        self.word = word
        self.handshake_only = handshake_only
        self.established = False
        self.peername: str | None = None
        self.output = ssl.MemoryBIO()
        self.output.write(question)
        self._held = b""

    def received(self, data: bytes) -> bytes:
        if self.established:
            return mirrored(data)
        self._held += data
        size = len(self.word)
        if not self.word.startswith(self._held[:size]):
            self.output.read()
            self.output.write(b"wrong")
            raise ProxyError("the wrong word")
        if len(self._held) < size:
            return b""
        self.established, self.peername = True, self.word.decode()
        self.output.read()  # a question that nobody has to answer any more
        self.output.write(b"!")
        return self._held[size:] if self.handshake_only else mirrored(self._held[size:])

    def send(self, data: bytes) -> bytes:
        return mirrored(data)

    def eof(self) -> None:
        if not self.established:
            raise ProxyError("left before the word")

    def close(self) -> bytes:
        return b""


def mirrored(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


class Filtering(Protocol):
    """A protocol whose filters are the test's."""

    def __init__(self, *filters: Filter, received: Callable[..., Any] = lambda m, _: m) -> None:
        super().__init__(received)
        self.filters = lambda _: filters


def pair(loop: EventLoop, protocol: Protocol) -> tuple[socket.socket, EngineConnection]:
    theirs, ours = socket.socketpair()
    theirs.settimeout(DEADLINE)
    return theirs, loop.attach(ours, protocol)


def receive(loop: EventLoop, theirs: socket.socket, size: int) -> bytes:
    """``size`` bytes, while the loop turns; fails when the deadline passes first."""
    data = bytearray()
    late = loop.call_later(DEADLINE, lambda: None)
    theirs.setblocking(False)
    while len(data) < size:
        try:
            data += theirs.recv(size - len(data))
        except BlockingIOError:
            loop.poll(0)
        assert not late.cancelled, "the deadline passed"
    late.cancel()
    theirs.settimeout(DEADLINE)
    return bytes(data)


def test_filters_have_their_turns_and_leave_over_what_is_not_theirs(loop: EventLoop) -> None:
    protocol = Filtering(Password(b"one"), Password(b"two", handshake_only=False))
    theirs, connection = pair(loop, protocol)
    with theirs:
        assert receive(loop, theirs, 1) == b"?"
        theirs.send(b"on")
        loop.poll(DEADLINE)
        assert protocol.events == []
        assert list(loop.connections()) == []
        assert list(loop.newcomers()) == [connection]
        theirs.send(b"etwo" + mirrored(frame(b"at once")))
        assert receive(loop, theirs, 2 + 11) == b"!!" + mirrored(frame(b"at once"))
        assert protocol.events == ["connected"]
        assert connection.peername == "two"
        assert list(loop.connections()) == [connection]
        theirs.send(mirrored(frame(b"later")))
        assert receive(loop, theirs, 9) == mirrored(frame(b"later"))
    turn_until(loop, lambda: connection.closed)
    assert protocol.events == ["connected", "eof"]


def test_what_came_with_the_greeting_waits_for_a_handler_that_pauses(loop: EventLoop) -> None:
    class Pausing(Filtering):
        def connected(self, connection: Connection) -> None:
            super().connected(connection)
            connection.pause_reading()

    messages: list[bytes] = []
    protocol = Pausing(Password(b"one"), received=lambda message, _: messages.append(message))
    theirs, connection = pair(loop, protocol)
    with theirs:
        theirs.send(b"one" + frame(b"first") + frame(b"second"))
        turn_until(loop, lambda: protocol.events)
        loop.poll(0)
        assert messages == []
        connection.resume_reading()
        turn_until(loop, lambda: len(messages) == 2)
        assert messages == [b"first", b"second"]


def test_a_filter_that_fails_is_told_and_the_handler_is_not(loop: EventLoop) -> None:
    protocol = Filtering(Password(b"one"))
    theirs, connection = pair(loop, protocol)
    with theirs:
        theirs.send(b"two" + b"unread" * 100)
        turn_until(loop, lambda: connection.reason)  # type: ignore[attr-defined]
        assert receive(loop, theirs, 6) == b"?wrong"
        assert theirs.recv(1) == b""
    turn_until(loop, lambda: protocol.events)
    assert protocol.events == ["proxy_error"]
    assert not connection.established


def test_one_that_is_late_is_closed(loop: EventLoop) -> None:
    late = Password(b"one")
    late.timeout = 0.01
    protocol = Filtering(late)
    theirs, _ = pair(loop, protocol)
    with theirs:
        turn_until(loop, lambda: protocol.events)
        assert protocol.events == ["proxy_error"]
        assert "not established within 0.01 s" in str(protocol.error)


def test_what_the_peer_does_not_take_is_sent_when_it_does(loop: EventLoop) -> None:
    question = b"?" * (4 << 20)
    protocol = Filtering(Password(b"one", question=question))
    theirs, connection = pair(loop, protocol)
    with theirs:
        theirs.send(b"one" + frame(b"hi"))
        assert receive(loop, theirs, len(question) + 1) == question + b"!"
        assert receive(loop, theirs, 6) == frame(b"hi")
        assert connection.established


@pytest.mark.parametrize(
    ("sent", "speaks_first", "reason"),
    [(b"", False, "eof"), (b"", True, "proxy_error"), (b"on", False, "proxy_error")],
)
def test_an_end_inside_the_greeting(
    loop: EventLoop, sent: bytes, speaks_first: bool, reason: str
) -> None:
    protocol = Filtering(Password(b"one", speaks_first=speaks_first))
    theirs, connection = pair(loop, protocol)
    with theirs:
        theirs.send(sent)
        theirs.shutdown(socket.SHUT_WR)
        turn_until(loop, lambda: connection.closed)
        loop.poll(0)
    assert protocol.events == [reason]
    assert not connection.established


@pytest.mark.parametrize("how", ["close", "abort", "loop"])
def test_it_can_be_closed_while_it_greets(loop: EventLoop, how: str) -> None:
    protocol = Filtering(Password(b"one"))
    theirs, connection = pair(loop, protocol)
    with theirs:
        if how == "loop":
            loop.close()
        else:
            getattr(connection, how)()
            turn_until(loop, lambda: connection.closed)
            loop.poll(0)
        assert protocol.events == [CloseReason.LOCAL]


def test_what_the_greeting_takes_counts_for_no_other_deadline(loop: EventLoop) -> None:
    bounds = Bounds(idle=1, frame=1, write=1)
    protocol = Filtering(Password(b"word"))
    theirs, _ = pair(loop, protocol)
    with theirs:
        assert receive(loop, theirs, 1) == b"?"
        for _tick in range(3):
            loop.enforce(bounds)
        theirs.send(b"word" + frame(b"half")[:-1])
        assert receive(loop, theirs, 1) == b"!"
        loop.enforce(bounds)
        theirs.send(frame(b"half")[-1:])
        assert receive(loop, theirs, 8) == frame(b"half")
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "eof"]
