"""Idle, frame and write timeouts, and slow handlers."""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection, Server, SettingError
from epollo.server.timeouts import TimeoutSweeper
from epollo.settings import LONGEST_TIME
from tests.clock import Clock
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, serving, until

ON = {"idle_timeout": 0.2, "frame_timeout": 0.2, "write_timeout": 0.2}


def timeouts(server: Server, clock: Clock, *begin: bytes) -> Iterator[None]:
    """Goes on, and the clock with it, until the server has closed so many peers for being late, one
    after the other, each of which had sent only the ``begin`` of a frame."""
    for data in begin:
        with Peer(server.addresses[0]) as late:
            late.send(data)
            yield from until_closed(late, clock)


def until_closed(peer: Peer, clock: Clock | None = None) -> Iterator[None]:
    """Goes on while the server has not closed this peer; the clock ticks once each time."""
    peer.socket.settimeout(0.001)
    late = time.monotonic() + DEADLINE
    while is_open(peer):
        assert time.monotonic() < late, "it was never closed"
        yield
        if clock is not None:
            clock.tick()


def is_open(peer: Peer) -> bool:
    """Has the server not closed this peer, which waits for next to nothing?"""
    try:
        return bool(peer.socket.recv(1))
    except (BlockingIOError, TimeoutError):
        return True
    except ConnectionResetError:
        return False


def test_an_idle_peer_is_closed_and_a_busy_one_kept(engine: Engine, clock: Clock) -> None:
    handler = Recorder()
    with (
        engine.server(handler, idle_timeout=0.3) as server,
        Peer(server.addresses[0]) as busy,
        Peer(server.addresses[0]) as idle,
    ):
        for _ in until_closed(idle, clock):
            assert busy.ask(b"busy") == b"busy"
        assert handler.end() is CloseReason.IDLE_TIMEOUT
        assert busy.ask(b"still here") == b"still here"


def test_a_peer_that_is_only_sent_to_is_not_idle(engine: Engine, clock: Clock) -> None:
    handler = Recorder()
    with engine.server(handler, idle_timeout=0.3) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        for _ in timeouts(server, clock, b"", b"", b""):
            connection.send(b"news")
            assert peer.receive(8) == frame(b"news")
        assert [handler.end() for _ in range(3)] == [CloseReason.IDLE_TIMEOUT] * 3
        assert not connection.closed


@pytest.mark.parametrize(
    ("framing", "begin"),
    [
        ("u32", b"\0\0\0\x63"),
        ("line", b"endless"),
        ("netstring", b"99:"),
        ("length(offset=4,size=2)", b"head\0\x63"),
    ],
)
def test_trickled_bytes_do_not_extend_a_frames_deadline(
    engine: Engine, clock: Clock, framing: str, begin: bytes
) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.3, framing=framing) as server:
        with Peer(server.addresses[0]) as peer:
            assert 8 <= trickle(peer, begin + bytes(90), clock) <= 10
        assert handler.end() is CloseReason.FRAME_TIMEOUT
        assert handler.messages.empty()


def trickle(peer: Peer, begin: bytes, clock: Clock) -> int:
    """Send a frame's begin, a byte with each tick of the clock, until the server closes; how many
    were sent."""
    sent = 0
    for _ in until_closed(peer, clock):
        if sent < len(begin):
            peer.send(begin[sent : sent + 1])
            sent += 1
    return sent


def test_whole_frames_are_never_late_however_slowly_they_come(engine: Engine, clock: Clock) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.2) as server, Peer(server.addresses[0]) as peer:
        for _ in timeouts(server, clock, b"\0", b"\0", b"\0"):  # each read ends within a frame
            peer.send(frame(b"one") + frame(b"two")[:3])
            assert peer.receive(7) == frame(b"one")
            peer.send(frame(b"two")[3:])
            assert peer.receive(7) == frame(b"two")
        assert [handler.end() for _ in range(3)] == [CloseReason.FRAME_TIMEOUT] * 3
        assert peer.ask(b"well") == b"well"


def test_a_frame_that_begins_where_another_ends_has_its_own_time(
    engine: Engine, clock: Clock
) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.2) as server, Peer(server.addresses[0]) as peer:
        one = frame(b"one")
        peer.send(one[:3])
        for _ in timeouts(server, clock, b"\0", b"\0"):
            peer.send(one[3:] + one[:3])  # each read ends a frame and begins the next
            assert peer.receive(7) == one
        assert [handler.end() for _ in range(2)] == [CloseReason.FRAME_TIMEOUT] * 2
        peer.send(one[3:])
        assert peer.receive(7) == one


@pytest.mark.parametrize("count", [0, 1])
def test_the_first_frames_time_begins_when_it_does(
    engine: Engine, clock: Clock, count: int
) -> None:
    handler = Recorder()
    with (
        engine.server(handler, frame_timeout=0.2, proxy_protocol="required") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"PROXY UNKNO")
        for _ in timeouts(server, clock, b"PROXY UNKNOWN\r\n\0", b"PROXY UNKNOWN\r\n\0"):
            continue  # a handshake may take longer than a frame
        assert [handler.end() for _ in range(2)] == [CloseReason.FRAME_TIMEOUT] * 2
        peer.send(b"WN\r\n" + frame(b"one") * count + b"\0")
        handler.connection()
        assert peer.receive(7 * count) == frame(b"one") * count
        ticks = sum(1 for _ in until_closed(peer, clock))
        assert handler.end() is CloseReason.FRAME_TIMEOUT
        assert ticks > 8, "it had less than its time"


def test_what_came_before_a_late_frame_is_answered(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, frame_timeout=0.1) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"whole") + frame(b"cut")[:-1])
        assert peer.receive_all() == frame(b"whole")
        assert handler.end() is CloseReason.FRAME_TIMEOUT


def test_a_peer_that_takes_nothing_is_closed(engine: Engine) -> None:
    handler = Recorder()
    size = 8 << 20  # more than the kernel's buffers take
    with (
        engine.server(handler, write_timeout=0.2, max_frame="16MiB") as server,
        Peer(server.addresses[0], receive_buffer=4096),
    ):
        handler.connection().send(bytes(size))
        assert handler.end() is CloseReason.WRITE_TIMEOUT


def test_a_peer_that_takes_a_little_now_and_then_is_kept(engine: Engine, clock: Clock) -> None:
    handler = Recorder()
    size = 16 << 20
    with engine.server(handler, write_timeout=0.5, max_frame="32MiB", max_unsent="32MiB") as server:
        with Peer(server.addresses[0], receive_buffer=64 << 10) as peer:
            connection = handler.connection()
            ours: socket.socket = connection.socket  # type: ignore[attr-defined]
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
            connection.send(bytes(size))
            taken = 0
            for _ in range(2):  # others take nothing, and are closed one after the other
                with Peer(server.addresses[0], receive_buffer=4096):
                    handler.connection().send(bytes(8 << 20))
                    while (end := ended(handler)) is None:
                        before = connection.unsent
                        assert before, "it has taken all"
                        while connection.unsent == before:
                            taken += len(peer.receive(12 << 10))
                        clock.tick()
                assert end is CloseReason.WRITE_TIMEOUT
            assert 0 < connection.unsent < size, "else it proves nothing"
            assert peer.receive(size + 4 - taken)[-1:] == b"\0"
            assert peer.ask(b"well") == b"well"
        assert handler.end() is CloseReason.EOF


def ended(handler: Recorder) -> CloseReason | None:
    """The reason of an end that has come."""
    try:
        return handler.ends.get_nowait()
    except queue.Empty:
        return None


def test_a_slow_handler_is_named_once_a_second(engine: Engine, log: Log) -> None:
    def sleeps(message: bytes) -> bytes:
        time.sleep(0.15)
        return message

    begun = time.monotonic()
    with engine.server(sleeps) as server, Peer(server.addresses[0]) as peer:
        for _ in range(4):
            assert peer.ask(b"slow") == b"slow"
    named = [
        line for line in log.slow if "still holds it" not in line
    ]  # else: a line while it does
    assert 1 <= len(named) <= 1 + (time.monotonic() - begun)
    for line in named:
        held = re.match(r"handler sleeps held the loop for (\d+) ms", line)
        assert held is not None
        assert int(held[1]) >= 150


@pytest.mark.parametrize("limit", [0, 3600])
def test_a_handler_may_be_slow_where_that_is_wanted(engine: Engine, log: Log, limit: int) -> None:
    def sleeps(_: bytes) -> None:
        time.sleep(0.12)

    with engine.server(sleeps, slow_handler=limit) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"slow"))
        peer.end()
        assert peer.receive_all() == b""
    assert log.slow == []


def test_a_peer_held_back_by_the_handler_is_neither_idle_nor_late(
    engine: Engine, clock: Clock
) -> None:
    handler = Recorder()
    with engine.server(handler, **ON) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        connection.pause_reading()
        peer.send(frame(b"later")[:-1])
        for _ in timeouts(server, clock, b"", b"\0", b""):
            pass
        assert {handler.end() for _ in range(3)} == {
            CloseReason.IDLE_TIMEOUT,
            CloseReason.FRAME_TIMEOUT,
        }
        assert not connection.closed
        peer.send(frame(b"later")[-1:])
        connection.resume_reading()
        assert peer.receive(9) == frame(b"later")


def test_two_hundred_slow_peers_are_closed_while_another_is_served(engine: Engine) -> None:
    """Slowloris: each has begun a frame, and sends a byte of it now and then."""
    handler = Recorder()
    begin = frame(bytes(1 << 19))[:-1]
    with engine.server(handler, frame_timeout=0.5) as server, ExitStack() as peers:
        busy = peers.enter_context(Peer(server.addresses[0]))
        slow = [peers.enter_context(Peer(server.addresses[0])) for _ in range(200)]
        for peer in slow:
            peer.socket.setblocking(False)
        for at in range(len(begin)):
            slow = [peer for peer in slow if trickled(peer, begin[at : at + 1])]
            assert busy.ask(b"%d" % at) == b"%d" % at
            if not slow:
                break
        ends = [handler.end() for _ in range(200)]
        assert ends == [CloseReason.FRAME_TIMEOUT] * 200
        assert handler.messages.qsize() == at + 1


def trickled(peer: Peer, data: bytes) -> bool:
    """Send it, where the server has not closed this peer."""
    try:
        peer.send(data)
    except ConnectionError:
        pass
    else:
        if is_open(peer):
            return True
    peer.close()
    return False


CLOCK = """
import threading
import time

def now(message):
    return b"%d" % time.time()
"""

DAY = 24 * 3600


def faketime() -> str:
    """The library that lies about the time of day (Debian's faketime)."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        assert os.environ.get("EPOLLO_INTEROP") != "require", "faketime is missing"
        pytest.skip("faketime is not installed")
    return str(found[0])


@pytest.mark.parametrize("days", [1, -1], ids=["forward", "back"])
def test_a_jump_of_the_wall_clock_closes_nobody(engine: Engine, tmp_path: Path, days: int) -> None:
    (tmp_path / "clock.py").write_text(CLOCK)
    shift = tmp_path / "shift"
    shift.write_text("+0d")
    env = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # it never jumps: clock_gettime(2)
    }
    limits = ["--idle-timeout", "3s", "--frame-timeout", "1h"]  # the busy one may be slow
    with (
        serving("clock:now", *engine.flags, *limits, cwd=tmp_path, env=env) as server,
        Peer(server.address) as busy,
        Peer(server.address) as slow,
        Peer(server.address) as idle,
    ):
        before = int(busy.ask(b"?"))
        asked = time.monotonic()
        idle.ask(b"?")
        shift.write_text(f"{days:+d}d")
        begin = frame(bytes(1 << 19))
        sent = 0
        for _ in until_closed(idle):  # so that a sweep came after the jump
            now = int(busy.ask(b"?"))
            slow.send(begin[sent : sent + 1])
            sent += 1
        assert time.monotonic() - asked >= 3, "a deadline is never early"
        assert abs(now - before - days * DAY) < DAY / 2, "the clock has not jumped"
        slow.send(begin[sent:])
        assert abs(int(slow.receive(14)[4:]) - now) < DAY / 2


HUGE = "1" + "0" * 300  # s; a float holds it, no C integer does


@pytest.mark.parametrize("seconds", [2e9, HUGE], ids=["63 years", "huge"])
def test_an_idle_timeout_of_ages_leaves_the_other_timeouts_in_force(
    engine: Engine, log: Log, seconds: float | str
) -> None:
    handler = Recorder()
    try:
        server = engine.server(handler, idle_timeout=seconds, frame_timeout=0.1)
    except SettingError:
        return
    with server, Peer(server.addresses[0]) as peer:
        peer.send(b"\0")
        until(lambda: log.records or not handler.ends.empty())
    assert log.take() == []
    assert handler.end() is CloseReason.FRAME_TIMEOUT


TIMES = [
    setting.name
    for setting in fields(epollo.Settings)
    if setting.metadata["metavar"] == "TIME" and setting.name != "keepalive"
]


@pytest.mark.parametrize("name", TIMES)
def test_a_time_is_at_most_ten_years(name: str) -> None:
    longest: dict[str, Any] = {name: "87600h"}
    longer: dict[str, Any] = {name: "87601h"}
    assert getattr(epollo.Settings(**longest), name) == LONGEST_TIME
    with pytest.raises(SettingError, match=f"{name}: '87601h' is more than 87600h, ten years"):
        epollo.Settings(**longer)


@pytest.mark.parametrize("shortest", ["1ns", "1ms"])
def test_the_longest_timeout_next_to_the_shortest_takes_less_than_half_of_all_ticks(
    engine: Engine, shortest: Any
) -> None:
    loop = engine.loop()
    sweeper = TimeoutSweeper(
        loop, epollo.Settings(idle_timeout=LONGEST_TIME, frame_timeout=shortest)
    )
    loop.close()
    assert sweeper.period >= 0.001
    assert sweeper._bounds.idle <= 1 << 31
    assert sweeper._bounds.idle * sweeper.period >= LONGEST_TIME, "a deadline is never early"


def test_deadlines_are_kept_when_the_ticks_start_again_at_0(engine: Engine, clock: Clock) -> None:
    handler = Recorder()
    with engine.server(handler, **ON, slow_handler=0) as server:
        server._started.tick = (1 << 32) - 3  # type: ignore[attr-defined]
        for late in timeouts(server, clock, b"\0", b""):
            del late
    assert {handler.end(), handler.end()} == {CloseReason.FRAME_TIMEOUT, CloseReason.IDLE_TIMEOUT}


async def later(message: bytes) -> bytes:
    return message


@pytest.mark.parametrize(
    "settings",
    [{"proxy_protocol": "optional", "tls_timeout": HUGE}, {"graceful_timeout": HUGE}],
    ids=["tls_timeout", "graceful_timeout"],
)
def test_a_timeout_of_ages_is_kept_on_an_asyncio_loop(
    engine: Engine, log: Log, settings: dict[str, Any]
) -> None:
    if engine.poller != "epoll":
        pytest.skip("no descriptor in an asyncio loop")
    never = {"frame_timeout": 0, "write_timeout": 0}  # no timer comes before that one
    try:
        server = engine.server(later, loop="asyncio", **never, **settings)
    except SettingError:
        return
    with server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"hello"))
        received = all_or_nothing(peer, 9)
        server.stop()
        peer.socket.settimeout(0.001)
        until(lambda: log.records or not is_open(peer))
    assert (received, log.take()) == (frame(b"hello"), [])


def all_or_nothing(peer: Peer, size: int) -> bytes:
    """What ``peer`` is sent, up to ``size`` bytes; nothing if it is reset."""
    try:
        return peer.receive(size)
    except ConnectionError:
        return b""


class Sticks:
    """Blocks in the hook of this name until the test lets it go on."""

    def __init__(self, hook: str) -> None:
        self.release = threading.Event()
        self._hook = hook

    def _called(self, hook: str) -> None:
        if hook == self._hook:
            assert self.release.wait(DEADLINE)

    def connected(self, connection: Connection) -> None:
        self._called("connected")

    def received(self, message: bytes) -> Any:
        self._called("received")
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self._called("disconnected")


class SticksAsync(Sticks):
    async def received(self, message: bytes) -> Any:
        return super().received(message)


def named(log: Log) -> bool:
    lines = [record.getMessage() for record in log.records] + log.slow
    return any("Sticks" in line for line in lines)


def check_named_while_it_blocks(handler: Sticks, server: Server, log: Log) -> None:
    """The handler that holds the loop is named in the log before it lets go of the loop."""
    try:
        with server, Peer(server.addresses[0]) as peer:
            peer.send(frame(b"hello"))
            peer.end()
            until(lambda: named(log))
            handler.release.set()
            peer.receive_all()
    finally:
        handler.release.set()
    log.take()


def test_a_handler_that_never_returns_is_named(engine: Engine, log: Log) -> None:
    handler = Sticks("received")
    check_named_while_it_blocks(handler, engine.server(handler), log)


@pytest.mark.parametrize(
    ("kind", "hook"),
    [(Sticks, "connected"), (Sticks, "disconnected"), (SticksAsync, "received")],
)
def test_another_hook_that_never_returns_is_named(kind: type[Sticks], hook: str, log: Log) -> None:
    handler = kind(hook)
    loop = "asyncio" if kind is SticksAsync else "auto"
    check_named_while_it_blocks(handler, Server(handler, "127.0.0.1:0", loop=loop), log)
