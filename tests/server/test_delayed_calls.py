"""Calls at a later time, which end with their connection or their server."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed, Server, UsageError
from epollo.engine import EventLoop
from epollo.engine.delayed_calls import DelayedCall
from tests.engine.support import Protocol, attached, turn_until, unwanted
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, until

MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "threads": {"threads": 2},
    "threads in flight": {"threads": 2, "in_flight": 4},
    "async": {"loop": "asyncio"},
}
every_mode = pytest.mark.parametrize("mode", MODES)


class Calling(Recorder):
    """Does what the test says with the connection of each message."""

    def __init__(self, act: Callable[[bytes, Connection], object]) -> None:
        super().__init__()
        self.act = act

    def received(self, message: bytes, connection: Connection) -> Any:
        self.act(message, connection)
        return message


class AsyncCalling(Calling):
    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        self.act(message, connection)
        return message


def handler(mode: str, act: Callable[[bytes, Connection], object]) -> Calling:
    return (AsyncCalling if mode == "async" else Calling)(act)


@every_mode
def test_a_connection_calls_back_with_the_arguments(engine: Engine, mode: str) -> None:
    made: queue.Queue[tuple[int, int]] = queue.Queue()

    def call(number: int, connection: Connection) -> None:
        made.put((number, threading.get_ident()))
        connection.send(b"called")

    def act(message: bytes, connection: Connection) -> None:
        connection.call_later("1ms", call, 7, connection)

    with (
        engine.server(handler(mode, act), **MODES[mode]) as server,
        Peer(server.addresses[0]) as peer,
    ):
        loop: Any = server._loop
        assert peer.ask(b"hello") == b"hello"
        assert peer.message() == b"called"
        number, thread = made.get(timeout=DEADLINE)
        assert number == 7
        assert (thread == loop.thread) == ("threads" not in mode)
        until(lambda: not loop.delayed_calls)


@every_mode
def test_the_end_of_a_connection_is_the_end_of_its_calls(engine: Engine, mode: str) -> None:
    calls: list[DelayedCall] = []

    def act(message: bytes, connection: Connection) -> None:
        calls.append(connection.call_later(3600, unwanted))

    recorder = handler(mode, act)
    with engine.server(recorder, **MODES[mode]) as server:
        loop: Any = server._loop
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
            assert not calls[0].cancelled
        assert recorder.end() is CloseReason.EOF
        assert calls[0].cancelled
        until(lambda: not loop.delayed_calls)


@every_mode
def test_a_call_may_be_cancelled_by_its_handler(engine: Engine, mode: str) -> None:
    def act(message: bytes, connection: Connection) -> None:
        call = connection.call_later(3600, unwanted)
        call.cancel()
        call.cancel()
        assert call.cancelled

    with (
        engine.server(handler(mode, act), **MODES[mode]) as server,
        Peer(server.addresses[0]) as peer,
    ):
        loop: Any = server._loop
        assert peer.ask(b"one") == b"one"
        assert peer.ask(b"two") == b"two"
        until(lambda: not loop.delayed_calls)


def test_in_threads_it_takes_its_turn_among_the_messages(engine: Engine) -> None:
    """And ``disconnected`` comes behind it."""
    order: list[str] = []
    begun, free = threading.Event(), threading.Event()

    def call() -> None:
        order.append("call")
        begun.set()
        free.wait(DEADLINE)
        order.append("called")

    class Ordered(Calling):
        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            order.append("disconnected")
            super().disconnected(connection, reason)

    def act(message: bytes, connection: Connection) -> None:
        if message == b"one":
            connection.call_later(0, call)
            time.sleep(0.01)  # the call is due while this one runs
        order.append(message.decode())

    recorder = Ordered(act)
    with engine.server(recorder, threads=4) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"one"))
        assert begun.wait(DEADLINE)
        peer.send(frame(b"two"))
        peer.reset()
        until(lambda: server.counters.closed[CloseReason.RESET])
        assert "disconnected" not in order
        free.set()
        recorder.end()
    assert [each for each in order if each != "two"] == ["one", "call", "called", "disconnected"]


def test_a_call_that_is_told_of_the_end_of_its_connection_is_no_fault(engine: Engine) -> None:
    def beat(connection: Connection) -> None:
        with pytest.raises(ConnectionClosed):
            connection.send(b"beat")
        connection.send(b"beat")

    def act(message: bytes, connection: Connection) -> None:
        connection.call_later(0, beat, connection)
        connection.send(bytes(16 << 20))  # which is still unsent when the call is due
        connection.close()

    recorder = handler("plain", act)
    with (
        engine.server(recorder, max_frame="32MiB") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"hello"))
        assert peer.receive(4) == (16 << 20).to_bytes(4, "big")
        assert len(peer.receive_all()) == (16 << 20) + 9
        assert recorder.end() is CloseReason.LOCAL


def test_after_the_end_there_are_no_calls(loop: EventLoop) -> None:
    with attached(loop, Protocol()) as (_, connection):
        connection.abort()
        with pytest.raises(ConnectionClosed, match="too late for call_later"):
            connection.call_later(0, unwanted)


async def waits() -> None: ...


@pytest.mark.parametrize(
    ("delay", "function", "why"),
    [
        ("soon", unwanted, "'soon' is not a time such as"),
        (-1, unwanted, "-1 is not a time"),
        (0, b"function", "b'function' is not a function"),
        (0, waits, "waits is async; call connection.create_task"),
    ],
)
def test_what_cannot_be_called_is_refused(
    engine: Engine, loop: EventLoop, delay: Any, function: Any, why: str
) -> None:
    with attached(loop, Protocol()) as (_, connection):
        with pytest.raises(UsageError, match=f"^call_later: .*{why}"):
            connection.call_later(delay, function)
        connection.abort()
    server = engine.server(lambda message: message)
    with pytest.raises(RuntimeError, match="not started"):
        server.call_later(0, unwanted)
    server.start()
    with pytest.raises(UsageError, match=f"^call_later: .*{why}"):
        server.call_later(delay, function)
    server.close()


def test_many_calls_of_one_connection_come_in_order(loop: EventLoop) -> None:
    made: list[int] = []
    with attached(loop, Protocol()) as (_, connection):
        for number in range(1000):
            connection.call_later(0, made.append, number)
        turn_until(loop, lambda: len(made) == 1000)
        assert made == list(range(1000))
        connection.abort()


class Starting(Recorder):
    """Has its server make calls."""

    def __init__(self) -> None:
        super().__init__()
        self.made: queue.Queue[object] = queue.Queue()
        self.call: DelayedCall | None = None

    def started(self, server: Server) -> None:
        server.call_later("1ms", self.made.put, server)
        server.call_later("2ms", self.fail)
        self.call = server.call_later("1h", unwanted)

    def fail(self) -> None:
        self.made.put("failed")
        raise ZeroDivisionError


class AsyncStarting(Starting):
    async def started(self, server: Server) -> None:  # type: ignore[override]
        super().started(server)


@every_mode
def test_a_server_makes_calls_until_it_ends(engine: Engine, mode: str, log: Log) -> None:
    recorder = (AsyncStarting if mode == "async" else Starting)()
    with engine.server(recorder, **MODES[mode]) as server, Peer(server.addresses[0]) as peer:
        assert recorder.made.get(timeout=DEADLINE) is server
        assert recorder.made.get(timeout=DEADLINE) == "failed"
        server.call_later(0, recorder.made.put, "from another thread")
        assert recorder.made.get(timeout=DEADLINE) == "from another thread"
        assert peer.ask(b"served") == b"served"
        assert recorder.call is not None
        assert not recorder.call.cancelled
    assert recorder.call.cancelled
    assert log.take() == ["the handler raised in a function of server.call_later"]
