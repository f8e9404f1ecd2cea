"""Whatever a user's code raises, in whatever hook, ends at most its own connection.

KeyboardInterrupt and SystemExit do that too; then they leave `poll`, at the end of the turn.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from epollo import CloseReason, Connection, address
from epollo.engine import Bounds, EventLoop, Limits
from epollo.framing import Buffer, Decoder, Framing
from tests.engine.support import Protocol, attached, turn_until, unwanted
from tests.logs import Log
from tests.support import DEADLINE, frame


class Panic(BaseException):
    """What a library may raise that is no Exception: PyO3's PanicException, gevent's Timeout."""


EXITS = (KeyboardInterrupt, SystemExit)
KINDS = [ValueError, Panic, GeneratorExit, asyncio.CancelledError, StopIteration, *EXITS]
every_kind = pytest.mark.parametrize("kind", KINDS)


def raising(kind: type[BaseException]) -> Callable[..., Any]:
    def call(*_: object) -> None:
        raise kind

    return call


def generator(kind: type[BaseException]) -> Callable[..., Any]:
    def received(message: bytes, _: Connection) -> Iterator[bytes]:
        yield message
        raise kind  # StopIteration becomes a RuntimeError (PEP 479)

    return received


def expected(kind: type[BaseException]) -> Any:
    """What `poll` raises in the turn in which a user's code raises ``kind``."""
    return pytest.raises(kind) if kind in EXITS else nullcontext()


@pytest.fixture
def beside(loop: EventLoop) -> Iterator[Callable[[], None]]:
    """Another connection, and the check that it is still served."""
    protocol = Protocol()
    with attached(loop, protocol) as (peer, _):

        def is_served() -> None:
            peer.send(frame(b"beside"))
            turn_until(loop, lambda: ready(peer))
            assert peer.recv(100) == frame(b"beside")

        yield is_served
    assert protocol.events == ["connected", "eof"]


def ready(peer: socket.socket) -> bool:
    """Has it something to receive?"""
    return bool(select.select([peer], [], [], 0)[0])


def ended(loop: EventLoop, protocol: Protocol, kind: type[BaseException]) -> None:
    """Turn the loop until the connection is closed; its error is of that ``kind``."""
    with expected(kind):
        turn_until(loop, lambda: len(protocol.events) == 2 and kind not in EXITS)
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert isinstance(protocol.error, (kind, RuntimeError) if kind is StopIteration else kind)


@every_kind
@pytest.mark.parametrize("fails", [raising, generator])
def test_received(loop: EventLoop, beside: Callable[[], None], kind: Any, fails: Any) -> None:
    """Earlier messages are answered; of later ones, and their bytes, nothing is heard any more."""
    heard: list[bytes] = []

    def received(message: bytes, connection: Connection) -> Any:
        heard.append(message)
        return fails(kind)(message, connection) if message == b"bad" else message

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"1") + frame(b"2") + frame(b"bad") + frame(b"later") + frame(b"part")[:6])
        ended(loop, protocol, kind)
        answered = frame(b"1") + frame(b"2") + (frame(b"bad") if fails is generator else b"")
        assert peer.recv(1000) == answered
        assert heard == [b"1", b"2", b"bad"]
        beside()
    assert protocol.events == ["connected", "handler_error"]


@every_kind
def test_received_of_what_was_held_back(
    loop: EventLoop, beside: Callable[[], None], kind: Any
) -> None:
    def received(message: bytes, connection: Connection) -> None:
        if message == b"bad":
            raise kind
        connection.pause_reading()

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"pause") + frame(b"bad") + frame(b"later"))
        loop.poll(DEADLINE)
        connection.resume_reading()
        ended(loop, protocol, kind)
        beside()
    assert protocol.events == ["connected", "handler_error"]


@every_kind
@pytest.mark.parametrize("inside", [True, False])
def test_a_late_reply(loop: EventLoop, beside: Callable[[], None], kind: Any, inside: bool) -> None:
    """A generator is run when its messages are sent, which may be between two turns."""

    def received(message: bytes, connection: Any) -> None:
        connection.defer()

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"late"))
        turn_until(loop, lambda: connection.in_flight)

        def answer() -> None:
            connection.answer(generator(kind)(b"first", connection))

        (loop.call_threadsafe if inside else (lambda call: call()))(answer)
        ended(loop, protocol, kind)
        assert peer.recv(100) == frame(b"first")
        beside()
    assert protocol.events == ["connected", "handler_error"]


@every_kind
def test_a_deferred_message_that_fails(
    loop: EventLoop, beside: Callable[[], None], kind: Any
) -> None:
    protocol = Protocol(received=lambda _, connection: connection.defer())
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"late"))
        turn_until(loop, lambda: connection.in_flight)
        connection.fail(kind())
        ended(loop, protocol, kind)
        beside()
    assert protocol.events == ["connected", "handler_error"]


class Hooked(Protocol):
    """Raises in the hooks that are named."""

    def __init__(self, kind: type[BaseException], *hooks: str) -> None:
        super().__init__()
        self._kind = kind
        self._hooks = hooks

    def connected(self, connection: Connection) -> None:
        super().connected(connection)
        if "connected" in self._hooks:
            raise self._kind

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        super().closed(connection, reason)
        if "closed" in self._hooks:
            raise self._kind


@every_kind
def test_connected(loop: EventLoop, beside: Callable[[], None], kind: Any) -> None:
    protocol = Hooked(kind, "connected")
    with attached(loop, protocol) as (peer, _):
        ended(loop, protocol, kind)
        assert peer.recv(1) == b""
        beside()
    assert protocol.events == ["connected", "handler_error"]


@every_kind
def test_closed(loop: EventLoop, beside: Callable[[], None], kind: Any, log: Log) -> None:
    protocol = Hooked(kind, "closed")
    theirs, ours = socket.socketpair()
    with theirs:
        loop.attach(ours, protocol)
    with expected(kind):
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert log.take() == ["the handler raised in disconnected"]
    beside()
    assert protocol.events == ["connected", "eof"]


@every_kind
def test_closed_while_the_loop_closes(loop: EventLoop, kind: Any, log: Log) -> None:
    protocols = [Hooked(kind, "closed") for _ in range(3)]
    pairs = [socket.socketpair() for _ in protocols]
    for protocol, (_, ours) in zip(protocols, pairs, strict=True):
        loop.attach(ours, protocol)
    with expected(kind):
        loop.close()
    for theirs, _ in pairs:
        theirs.close()
    assert [protocol.events for protocol in protocols] == [["connected", "local"]] * 3
    assert log.take() == ["the handler raised in disconnected"] * 3


@every_kind
@pytest.mark.parametrize("how", ["call_threadsafe", "call_later"])
def test_a_callback(loop: EventLoop, kind: Any, how: str, log: Log) -> None:
    called: list[int] = []
    calls: list[Callable[[], object]] = [
        raising(kind),
        *(lambda n=n: called.append(n) for n in (1, 2)),
    ]
    for call in calls:
        loop.call_threadsafe(call) if how == "call_threadsafe" else loop.call_later(0, call)
    with expected(kind):
        turn_until(loop, lambda: called and kind not in EXITS)
    assert called == [1, 2]
    assert log.take() == ["a callback of the loop raised"]


@every_kind
def test_an_accept(loop: EventLoop, beside: Callable[[], None], kind: Any, log: Log) -> None:
    def accept(sock: socket.socket) -> None:
        sock.close()
        raise kind

    listener = address.listen(address.parse("127.0.0.1:0"), 10)
    loop.listen(listener, accept, unwanted)
    for _ in range(2):
        with expected(kind), socket.create_connection(listener.getsockname(), DEADLINE):
            turn_until(loop, lambda: log.records and kind not in EXITS)
        assert log.take() == ["a connection could not be accepted"]
    beside()


class Faulty(Framing):
    """The user's own framing, a message a byte; one of its methods raises for the byte "!"."""

    def __init__(self, kind: type[BaseException], method: str) -> None:
        super().__init__("faulty", 1 << 20)
        self.kind = kind
        self.method = method

    def check(self, method: str, data: Buffer) -> None:
        if method == self.method and b"!" in bytes(data):
            raise self.kind

    def encode(self, message: Buffer) -> bytes:
        self.check("encode", message)
        return bytes(message)

    def decoder(self) -> Decoder:
        return FaultyDecoder(self)


class FaultyDecoder(Decoder):
    def __init__(self, framing: Faulty) -> None:
        self._framing = framing
        self._last: Buffer = b""

    def feed(self, data: Buffer) -> list[bytes]:
        self._last = bytes(data)
        self._framing.check("feed", data)
        return [bytes([byte]) for byte in bytes(data)]

    @property
    def partial(self) -> bool | None:
        self._framing.check("partial", self._last)
        return False

    def eof(self) -> None:
        self._framing.check("eof", self._last)


@every_kind
@pytest.mark.parametrize("method", ["feed", "partial", "encode", "eof"])
def test_the_users_own_framing(
    loop: EventLoop, beside: Callable[[], None], kind: Any, method: str
) -> None:
    protocol = Protocol()
    protocol.framing = Faulty(kind, method)
    with attached(loop, protocol) as (peer, _):
        peer.send(b"abc")
        turn_until(loop, lambda: ready(peer))
        assert peer.recv(100) == b"abc"
        peer.send(b"!")
        if method == "eof":
            peer.shutdown(socket.SHUT_WR)
        ended(loop, protocol, kind)
        beside()
    assert protocol.events == ["connected", "handler_error"]


@pytest.mark.parametrize("told", [None, True], ids=["not known", "known"])
def test_the_time_for_a_frame_of_the_users_own(
    loop: EventLoop, beside: Callable[[], None], told: bool | None
) -> None:
    """The decoder tells whether a frame has begun; or else bytes without a message begin one."""

    class Slow(FaultyDecoder):
        @property
        def partial(self) -> bool | None:
            return told

        def feed(self, data: Buffer) -> list[bytes]:
            return [] if told is None else [bytes(data)]

    class Own(Faulty):
        def decoder(self) -> Decoder:
            return Slow(self)

    protocol = Protocol()
    protocol.framing = Own(ValueError, "nothing")
    with attached(loop, protocol) as (peer, _):
        turn_until(loop, lambda: protocol.events == ["connected"])
        for _ in range(3):
            loop.enforce(Bounds(frame=1))
        loop.poll(0)
        assert protocol.events == ["connected"]
        peer.send(b"!")
        loop.poll()
        for _ in range(3):
            loop.enforce(Bounds(frame=1))
        turn_until(loop, lambda: len(protocol.events) == 2)
        beside()
    assert protocol.events == ["connected", "frame_timeout"]


class NoLimits(Protocol):
    """Its ``limits`` are a property, which raises once."""

    kind: type[BaseException] | None = None

    @property
    def limits(self) -> Any:
        kind, self.kind = self.kind, None
        if kind is not None:
            raise kind
        return Limits(high_water=100)

    @limits.setter
    def limits(self, _: object) -> None:
        pass


def read_all(peer: socket.socket) -> None:
    try:
        while peer.recv(1 << 20):
            pass
    except BlockingIOError:
        pass


@every_kind
def test_the_protocols_own_limits(loop: EventLoop, beside: Callable[[], None], kind: Any) -> None:
    protocol = NoLimits(received=lambda *_: [bytes(1 << 19)] * 8)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"more than the kernel takes at once"))
        protocol.kind = kind
        with expected(kind):
            turn_until(loop, lambda: protocol.kind is None and kind not in EXITS)
        peer.setblocking(False)

        def closed() -> bool:
            read_all(peer)
            return len(protocol.events) == 2

        turn_until(loop, closed)
        assert isinstance(protocol.error, kind)
        beside()
    assert protocol.events == ["connected", "handler_error"]


@every_kind
def test_a_log_that_raises_ends_nothing(
    loop: EventLoop, beside: Callable[[], None], kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("epollo.engine")
    logger.addFilter(raising(kind))
    try:
        loop.call_threadsafe(raising(ValueError))
        with expected(kind):
            turn_until(loop, lambda: kind not in EXITS)
        beside()
    finally:
        logger.filters.clear()
    assert f"{kind.__name__}" in capsys.readouterr().err


def test_an_exit_comes_when_the_turn_is_over(loop: EventLoop) -> None:
    """By then the other connections of the turn have their replies; the loop can go on."""
    protocol = Protocol()
    exiting = Protocol(received=raising(SystemExit))
    with attached(loop, protocol) as (first, _), attached(loop, exiting) as (peer, _):
        first.send(frame(b"asked"))
        peer.send(frame(b"exit"))
        with pytest.raises(SystemExit):
            turn_until(loop, lambda: False)
        turn_until(loop, lambda: ready(first))
        assert first.recv(100) == frame(b"asked")
        assert exiting.events == ["connected", "handler_error"]


def test_an_exit_raised_between_turns_comes_with_the_next_one(loop: EventLoop) -> None:
    theirs, ours = socket.socketpair()
    protocol = Hooked(SystemExit, "connected")
    with theirs:
        loop.attach(ours, protocol)
        with pytest.raises(SystemExit):
            loop.poll(DEADLINE)
    assert protocol.events == ["connected", "handler_error"]
    loop.poll(0)
