"""What one turn of the loop does at most, so that a storm keeps no other peer waiting."""

from __future__ import annotations

import fcntl
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import Connection
from epollo.engine import Bounds, EventLoop, new_loop
from epollo.engine.base_loop import MOST_CALLS, MOST_ENDED, MOST_FLUSHED, MOST_OTHERS
from epollo.engine.listener import ACCEPTS_PER_TURN
from tests.engine.support import Protocol, attached, turn_until
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, many_descriptors, until

MESSAGE = frame(b"message")


@contextmanager
def answered(loop: EventLoop) -> Iterator[socket.socket]:
    """A peer whose message is answered within one turn."""
    with attached(loop, Protocol()) as (peer, _):
        loop.poll(0)
        yield peer
        peer.setblocking(False)
        assert peer.recv(100) == MESSAGE


def test_calls_of_other_threads_are_made_in_parts_and_in_order(loop: EventLoop) -> None:
    made: list[int] = []
    with answered(loop) as peer:
        for number in range(4 * MOST_CALLS):
            loop.call_threadsafe(lambda number=number: made.append(number))  # type: ignore[misc]
        peer.send(MESSAGE)
        loop.poll(0)
        assert len(made) == MOST_CALLS
    turn_until(loop, lambda: len(made) == 4 * MOST_CALLS)
    assert made == sorted(made)


def test_due_timers_fire_in_parts_and_in_order(loop: EventLoop) -> None:
    fired: list[int] = []
    with answered(loop) as peer:
        for number in range(4 * MOST_CALLS):
            loop.call_later(-1 + number * 1e-6, lambda number=number: fired.append(number))  # type: ignore[misc]
        peer.send(MESSAGE)
        loop.poll(0)
        assert len(fired) == MOST_CALLS
    turn_until(loop, lambda: len(fired) == 4 * MOST_CALLS)
    assert fired == sorted(fired)


def test_a_loop_in_another_one_is_ready_for_what_a_turn_has_left(loop: EventLoop) -> None:
    made: list[int] = []
    import select

    poll = select.poll()
    poll.register(loop.fileno(), select.POLLIN)
    for number in range(2 * MOST_CALLS):
        loop.call_threadsafe(lambda number=number: made.append(number))  # type: ignore[misc]
    while len(made) < 2 * MOST_CALLS:
        assert poll.poll(1000 * DEADLINE)
        loop.poll(0)


def test_the_output_of_many_is_sent_in_parts(loop: EventLoop) -> None:
    count = MOST_FLUSHED + 100
    protocol = Protocol()
    with many_descriptors(3 * count), ExitStack() as stack:
        pairs = [stack.enter_context(attached(loop, protocol)) for _ in range(count)]
        with answered(loop) as good:
            for _, connection in pairs:
                connection.send(b"message")
            good.send(MESSAGE)
            loop.poll(0)
            assert sum(connection.unsent > 0 for _, connection in pairs) >= 99
            loop.poll(0)
            assert not any(connection.unsent for _, connection in pairs)


def test_many_that_are_overdue_at_once_are_ended_in_parts(loop: EventLoop) -> None:
    count = 4 * MOST_ENDED
    protocol = Protocol()
    with many_descriptors(3 * count), ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(attached(loop, protocol))
        with answered(loop) as good:
            protocol.events.clear()
            for _ in range(2):
                loop.enforce(Bounds(idle=1))
            good.send(MESSAGE)
            loop.poll(0)
            assert 0 < len(protocol.events) <= MOST_ENDED
        turn_until(loop, lambda: len(protocol.events) == count)
    assert set(protocol.events) == {"idle_timeout"}


def test_a_turn_of_the_python_engine_looks_at_few_for_deadlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The native engine looks at all of them in less time."""
    loop = new_loop("python")
    looked_at: list[int] = []

    def note(connection: Any, bounds: Bounds) -> None:
        looked_at.append(connection.fd)

    monkeypatch.setattr("epollo.engine.python.loop.overdue", note)
    with many_descriptors(1000), ExitStack() as stack:
        stack.callback(loop.close)
        pairs = [stack.enter_context(attached(loop, Protocol())) for _ in range(3 * MOST_ENDED)]
        ours = sorted(connection.fd for _, connection in pairs)
        loop.enforce(Bounds(idle=1))
        assert looked_at == [fd for fd in ours if fd < MOST_ENDED]
        while len(looked_at) < len(ours):
            before = len(looked_at)
            loop.poll(0)
            assert len(looked_at) - before <= MOST_ENDED
        loop.poll(0)
        assert looked_at == ours


@contextmanager
def far(loop: EventLoop, protocol: Protocol, part: int = 9) -> Iterator[tuple[socket.socket, Any]]:
    """The same as `attached`, at a descriptor that a sweep reaches so many turns after its begin,
    if it is one in parts."""
    theirs, ours = socket.socketpair()
    with ours:
        moved = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD, part * MOST_ENDED))
    moved.setblocking(False)
    with theirs:
        theirs.settimeout(DEADLINE)
        yield theirs, loop.attach(moved, protocol)
    turn_until(loop, lambda: len(protocol.events) >= 2)


def tick_with_each_turn(loop: EventLoop, bounds: Bounds, count: float, connection: Any) -> int:
    """As often as that, or until it is closed, which an overloaded server does; how often."""
    late = time.monotonic() + DEADLINE
    ticks = 0
    while ticks < count and not connection.closed:
        assert time.monotonic() < late, "the deadline passed"
        loop.enforce(bounds)
        loop.poll(0)
        ticks += 1
    return ticks


@pytest.mark.parametrize(
    "reads",
    [
        [MESSAGE[:1]],
        [MESSAGE, MESSAGE[:1]],
        [MESSAGE + MESSAGE[:1], MESSAGE[1:] + MESSAGE[:1]],
    ],
)
def test_a_frame_that_begins_between_two_looks_has_its_whole_time(
    loop: EventLoop, reads: list[bytes]
) -> None:
    """Wherever between them, and however far from each other they are."""
    bounds = Bounds(frame=15)
    with many_descriptors(1000):
        for ticks in range(12):
            protocol = Protocol()
            with far(loop, protocol) as (peer, connection):
                for data in reads:
                    assert tick_with_each_turn(loop, bounds, ticks, connection) == ticks
                    peer.send(data)
                    loop.poll(0)
                assert tick_with_each_turn(loop, bounds, math.inf, connection) > 15
            assert protocol.events == ["connected", "frame_timeout"]


@pytest.mark.parametrize("taken", [0, 1])
def test_output_that_is_left_between_two_looks_has_its_whole_time(
    loop: EventLoop, taken: int
) -> None:
    """The first that the peer takes nothing of, or the one behind output that it took."""
    bounds = Bounds(write=15)
    with many_descriptors(1000):
        for ticks in range(12):
            protocol = Protocol()
            with far(loop, protocol) as (peer, connection):
                for left in range(taken, -1, -1):
                    tick_with_each_turn(loop, bounds, ticks, connection)
                    connection.send(bytes(1 << 19))
                    loop.poll(0)
                    tick_with_each_turn(loop, bounds, 12 * left, connection)
                    while connection.unsent and left:
                        peer.recv(1 << 20)
                        loop.poll(0)
                assert tick_with_each_turn(loop, bounds, math.inf, connection) > 15
            assert protocol.events == ["connected", "write_timeout"]


def test_a_sweep_of_the_python_engine_ends_behind_the_highest_descriptor() -> None:
    """Of those that are left after a storm, or that came while it went on."""
    loop: Any = new_loop("python")
    own = loop._wakeup.receiver.fileno() // MOST_ENDED
    with many_descriptors(1000), ExitStack() as stack:
        stack.callback(loop.close)
        with far(loop, Protocol()):
            pass
        loop.enforce(Bounds())
        for _ in range(7):
            loop.poll(0)
        with far(loop, Protocol(), 5):
            assert turns(loop) == 2
            loop.enforce(Bounds())
            assert turns(loop) == 5
        for part in (5, own):
            loop.enforce(Bounds())
            assert turns(loop) == part


def turns(loop: EventLoop) -> int:
    """In which the loop finds something to do, until it has nothing left to do."""
    return sum(1 for _ in iter(lambda: loop.poll(0), 0))


def test_one_that_is_no_longer_overdue_when_its_part_comes_is_kept(loop: EventLoop) -> None:
    protocol, late = Protocol(), Protocol()
    with many_descriptors(1000), ExitStack() as stack:
        for _ in range(2 * MOST_ENDED):
            stack.enter_context(attached(loop, protocol))
        with attached(loop, late) as (peer, connection):
            loop.poll(0)
            for _ in range(2):
                loop.enforce(Bounds(idle=1))
            peer.send(MESSAGE)
            turn_until(loop, lambda: protocol.events.count("idle_timeout") == 2 * MOST_ENDED)
            assert peer.recv(100) == MESSAGE
            assert not connection.closed


class Held(Recorder):
    """Holds the loop with ``hold``; knows how many were connected before the message ``good``."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go_on = threading.Event(), threading.Event()
        self.before = -1

    def received(self, message: bytes, connection: Connection) -> Any:
        if message == b"hold":
            self.held.set()
            assert self.go_on.wait(DEADLINE)
        self.before = self.opened.qsize()
        return message


HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 6000\r\n"


@pytest.mark.parametrize("storm", ["handshakes", "accepts"])
def test_newcomers_in_a_storm_keep_no_other_peer_waiting(
    engine: Engine, tmp_path: Path, storm: str
) -> None:
    count, handler = 4 * ACCEPTS_PER_TURN, Held()
    settings: dict[str, Any] = {"slow_handler": 0, "graceful_timeout": 0, "backlog": 2 * count}
    header = HEADER if storm == "handshakes" else b""
    if header:
        settings["proxy_protocol"] = "required"
    bind = f"unix:{tmp_path / 'socket'}"
    with (
        many_descriptors(3 * count),
        engine.server(handler, bind=bind, **settings) as server,
        ExitStack() as stack,
    ):
        where = server.addresses[0]
        holding, good = (stack.enter_context(Peer(where)) for _ in range(2))
        for peer in (holding, good):
            peer.send(header + frame(b"connected"))
            assert peer.receive(13) == frame(b"connected")
        early = [stack.enter_context(Peer(where)) for _ in range(count if header else 0)]
        if header:
            until(lambda: server.counters.open == count + 2)
        holding.send(frame(b"hold"))
        assert handler.held.wait(DEADLINE)
        for peer in early:
            peer.send(header)
        for _ in range(0 if header else count):
            stack.enter_context(Peer(where))
        good.send(frame(b"good"))
        handler.go_on.set()
        assert good.receive(8) == frame(b"good")
        assert handler.before <= 2 + max(2 * MOST_OTHERS, ACCEPTS_PER_TURN)
        until(lambda: handler.opened.qsize() == count + 2)
        handler.opened.queue.clear()


def test_others_are_served_in_turn_if_they_are_many(engine: Engine, tmp_path: Path) -> None:
    """More peers than are served in one turn never finish their PROXY header, and send on; the one
    behind them is connected all the same."""
    count, handler = 2 * MOST_OTHERS, Recorder()
    bind = f"unix:{tmp_path / 'socket'}"
    header = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + (40_000).to_bytes(2, "big")
    with (
        engine.server(handler, bind=bind, proxy_protocol="required", graceful_timeout=0) as server,
        ExitStack() as stack,
    ):
        where = server.addresses[0]
        busy = [stack.enter_context(Peer(where)) for _ in range(count)]
        for peer in busy:
            peer.send(header)
        stop = threading.Event()

        def trickle() -> None:
            for _ in range(500):
                for peer in busy:
                    if stop.is_set():
                        return
                    peer.send(b"\0")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            last = stack.enter_context(Peer(where))
            last.send(HEADER + MESSAGE)
            assert last.receive(len(MESSAGE)) == MESSAGE
        finally:
            stop.set()
            thread.join()
        handler.opened.queue.clear()
