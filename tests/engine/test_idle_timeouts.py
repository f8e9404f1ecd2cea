"""Idle timeouts that connections have of their own."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server, UsageError
from epollo.engine import EventLoop
from tests.clock import Clock
from tests.engine.support import Protocol, attached, turn_until
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, until


class Asking(Recorder):
    """Calls what the test asks for, in the handler of the next message."""

    def __init__(self, at_first: float | str | None = None) -> None:
        super().__init__()
        self.at_first = at_first
        self.calls: queue.Queue[Callable[[Connection], object]] = queue.Queue()

    def connected(self, connection: Connection) -> None:
        if self.at_first is not None:
            connection.idle_timeout = self.at_first

    def received(self, message: bytes, connection: Connection) -> Any:
        while not self.calls.empty():
            self.calls.get()(connection)
        return message


def ticks(clock: Clock, count: int) -> None:
    for _ in range(count):
        clock.tick()


def idle_ends(server: Server) -> int:
    return server.counters.closed[CloseReason.IDLE_TIMEOUT]


def test_it_replaces_the_setting(engine: Engine, clock: Clock) -> None:
    """A tick is a quarter of a second; with the setting, an eighth of that."""
    handler = Asking("1s")
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"one"
        ticks(clock, 4)
        assert peer.ask(b"two") == b"two"
        ticks(clock, 4)
        assert idle_ends(server) == 0
        ticks(clock, 1)
        until(lambda: idle_ends(server) == 1)
        assert handler.end() is CloseReason.IDLE_TIMEOUT


@pytest.mark.parametrize("own", ["1h", 0])
def test_it_may_be_longer_than_the_setting_or_none(
    engine: Engine, clock: Clock, own: str | float
) -> None:
    handler = Asking(own)
    with engine.server(handler, idle_timeout="2s") as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"one"
        ticks(clock, 40)
        assert peer.ask(b"two") == b"two"


def test_it_may_be_changed_at_any_time(engine: Engine, clock: Clock) -> None:
    handler = Asking("1h")
    seen: list[float] = []

    def change(timeout: float | str | None) -> Callable[[Connection], None]:
        def call(connection: Connection) -> None:
            seen.append(connection.idle_timeout)
            connection.idle_timeout = timeout
            seen.append(connection.idle_timeout)

        return call

    with engine.server(handler, idle_timeout="2s") as server, Peer(server.addresses[0]) as peer:
        handler.calls.put(change(1))
        assert peer.ask(b"shorter") == b"shorter"
        handler.calls.put(change(None))
        assert peer.ask(b"as set") == b"as set"
        ticks(clock, 8)
        assert idle_ends(server) == 0
        ticks(clock, 1)
        until(lambda: idle_ends(server) == 1)
    assert seen == [3600, 1, 1, 2]


def test_another_thread_may_change_it(engine: Engine, clock: Clock) -> None:
    recorder = Recorder()
    with engine.server(recorder) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"one"
        recorder.connection().idle_timeout = "1s"
        ticks(clock, 5)
        until(lambda: idle_ends(server) == 1)


@pytest.mark.parametrize("setting", [{}, {"idle_timeout": "1s"}], ids=["own", "setting"])
def test_a_pause_does_not_count(engine: Engine, clock: Clock, setting: Any) -> None:
    """Nor the time before it."""
    handler = Asking(None if setting else "1s")
    connections: list[Connection] = []
    with engine.server(handler, **setting) as server, Peer(server.addresses[0]) as peer:
        handler.calls.put(connections.append)
        handler.calls.put(lambda connection: connection.pause_reading())
        assert peer.ask(b"one") == b"one"
        ticks(clock, 23)
        connections.pop().resume_reading()
        ticks(clock, 3 if not setting else 7)
        assert idle_ends(server) == 0
        assert peer.ask(b"two") == b"two"


def test_it_leaves_nothing_in_the_loop(engine: Engine, clock: Clock) -> None:
    with engine.server(Asking("1h")) as server:
        loop: Any = server._loop
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"one") == b"one"
            assert len(loop.idle_timeouts.seconds) == 1
        until(lambda: server.counters.open == 0)
        assert not loop.idle_timeouts.seconds
        assert not loop.idle_timeouts._when
        assert not loop.idle_timeouts._due


def test_a_loop_that_nobody_sweeps_sweeps_itself(loop: EventLoop) -> None:
    protocol = Protocol()
    with attached(loop, protocol) as (_, connection):
        connection.idle_timeout = "10ms"
        turn_until(loop, lambda: connection.closed)
        assert protocol.events == ["connected", "idle_timeout"]
        connection.idle_timeout = 1  # nothing
        assert not loop.idle_timeouts.seconds  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["soon", -1, "-1s", float("nan"), float("inf"), True])
def test_what_is_no_time_is_refused(loop: EventLoop, value: Any) -> None:
    with attached(loop, Protocol()) as (_, connection):
        with pytest.raises(UsageError, match=r"^idle_timeout: .* is not a time such as"):
            connection.idle_timeout = value
        connection.abort()


def test_messages_that_set_it_each_time_make_no_heap(engine: Engine, clock: Clock) -> None:
    handler = Asking()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        loop: Any = server._loop
        for _ in range(20):
            handler.calls.put(lambda connection: setattr(connection, "idle_timeout", 60))
            assert peer.ask(b"again") == b"again"
            clock.tick()
        assert sum(map(len, loop.idle_timeouts._due.values())) == 1


def test_a_peer_that_waits_for_a_reply_is_not_idle(engine: Engine, clock: Clock) -> None:
    held: queue.Queue[Any] = queue.Queue()

    class Deferring(Asking):
        def received(self, message: bytes, connection: Any) -> Any:
            if message == b"later":
                connection.defer()
                held.put(connection)
                return None
            return message

    handler = Deferring("1s")
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"later"))
        connection = held.get(timeout=DEADLINE)
        ticks(clock, 23)
        connection.loop.call_threadsafe(lambda: connection.answer(None))
        ticks(clock, 3)
        assert idle_ends(server) == 0
        assert peer.ask(b"now") == b"now"
