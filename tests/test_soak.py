"""A short soak: connections of every kind, round after round. What they took is given back."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from epollo.engine import stages
from epollo.engine.connection import BaseConnection
from tests.engines import Engine, live_native_objects
from tests.support import Peer, frame, until

ROUNDS = 12
TIMES = 5  # that each kind of life is lived in a round
LEAST_LEAK = 16  # bytes: what an object has at the least (PyObject)


class Room:
    """Does a bit of everything, and keeps nothing."""

    def started(self, server: Server) -> None:
        self.server = server

    def connected(self, connection: Connection) -> None:
        connection.state = {"messages": 0}

    def received(self, message: bytes, connection: Connection) -> Any:
        connection.state["messages"] += 1
        if message == b"join":
            connection.join("room")
        elif message == b"tell":
            self.server.publish("room", b"news")
        elif message == b"flood":
            return (bytes(100_000) for _ in range(100))
        elif message == b"close":
            connection.close()
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        connection.state["reason"] = reason


def talks(where: str) -> None:
    with Peer(where) as peer:
        for number in range(5):
            assert peer.ask(b"%d" % number) == b"%d" % number


def half_closes(where: str) -> None:
    with Peer(where) as peer:
        peer.send(frame(b"pipelined") * 100)
        peer.end()
        assert peer.receive_all() == frame(b"pipelined") * 100


def sends_much(where: str) -> None:
    with Peer(where) as peer:
        message = frame(bytes(300_000))
        for start in range(0, len(message), 50_000):
            peer.send(message[start : start + 50_000])
        assert peer.receive(len(message)) == message


def is_cut(where: str) -> None:
    with Peer(where) as peer:
        peer.send(frame(b"whole") + frame(bytes(20_000))[:10_000])
        assert peer.receive(9) == frame(b"whole")


def sends_too_much(where: str) -> None:
    with Peer(where) as peer:
        peer.send(frame(b"whole") + b"\xff\xff\xff\xff unread")
        assert peer.receive_all() == frame(b"whole")


def resets(where: str) -> None:
    peer = Peer(where)
    assert peer.ask(b"before") == b"before"
    peer.send(frame(b"cut")[:-1])
    peer.reset()


def never_reads(where: str) -> None:
    peer = Peer(where, receive_buffer=4096)
    peer.send(frame(b"flood"))
    assert peer.receive(4)  # so it has begun
    peer.reset()


def is_closed(where: str) -> None:
    with Peer(where) as peer:
        assert peer.ask(b"close") == b"close"
        assert peer.receive_all() == b""


def meets_others(where: str) -> None:
    with Peer(where) as one, Peer(where) as two:
        assert [one.ask(b"join"), two.ask(b"join")] == [b"join", b"join"]
        two.send(frame(b"tell"))
        assert one.receive(8) == frame(b"news")
        assert len(two.receive(16)) == 16  # the news, and its reply


LIVES: list[Callable[[str], None]] = [
    talks,
    half_closes,
    sends_much,
    is_cut,
    sends_too_much,
    resets,
    never_reads,
    is_closed,
    meets_others,
]


@pytest.fixture
def traced() -> Iterator[None]:
    """Python's allocator, which the native engine takes its memory from too, counts its bytes."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_what_connections_took_is_given_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "LINGER_SECONDS", 0.05)  # for which a cancelled timer is kept
    sizes = []
    with engine.server(Room()) as server:
        for number in range(ROUNDS):
            lives = LIVES * TIMES
            Random(number).shuffle(lives)  # noqa: S311 a different order each time, by seed
            for live in lives:
                live(server.addresses[0])
            until(lambda: not server.counters.open and timers(server) <= 1)  # the deadlines' own
            gc.collect()
            assert [thing for thing in gc.get_objects() if isinstance(thing, BaseConnection)] == []
            assert live_native_objects() == {}
            sizes.append(tracemalloc.get_traced_memory()[0])
    last_half = ROUNDS // 2
    lived = last_half * len(LIVES) * TIMES
    assert sizes[-1] - sizes[-1 - last_half] < lived * LEAST_LEAK, sizes


def timers(server: Server) -> int:
    """How many its loop keeps."""
    loop: Any = server._loop
    return len(loop._timers)
