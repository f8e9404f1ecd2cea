"""What the loop tells of an event that held it: the messages that were delivered in it, and no
others."""

from __future__ import annotations

import socket
from typing import Any

from epollo import CloseReason
from epollo.engine import EventLoop
from epollo.engine.connection import Stage
from tests.engine.support import Protocol, attached, turn_until
from tests.support import DEADLINE, frame


class Counting(Protocol):
    counts = True


def told_of(loop: EventLoop) -> list[tuple[int, int]]:
    """From now on, the stage of the connection after each event, and the messages of the event.
    Every event is told: it takes longer than no time."""
    told: list[tuple[int, int]] = []

    def note(connection: Any, _: float) -> None:
        told.append((connection.stage, loop.read_messages))

    loop.slow_after, loop.on_slow = -1.0, note
    return told


def test_a_read_has_its_messages(loop: EventLoop) -> None:
    with attached(loop, Counting()) as (peer, _):
        told = told_of(loop)
        for count in (3, 1):
            peer.send(frame(b"m") * count)
            turn_until(loop, lambda count=count: len(told) == {3: 1, 1: 2}[count])  # type: ignore[misc]
    assert told[:2] == [(Stage.OPEN, 3), (Stage.OPEN, 1)]


def test_an_end_of_stream_has_none(loop: EventLoop) -> None:
    protocol = Counting()
    with attached(loop, protocol) as (peer, _):
        told = told_of(loop)
        peer.send(frame(b"m"))
        turn_until(loop, lambda: told)
        peer.shutdown(socket.SHUT_WR)
        turn_until(loop, lambda: len(told) == 2)
    assert [messages for _, messages in told] == [1, 0]


def test_a_connection_that_lingers_has_none(loop: EventLoop) -> None:
    """The messages of an earlier event, of whatever connection, belong to that one."""
    loop.crossing_seconds = DEADLINE
    ending = Counting()
    with attached(loop, Counting()) as (other, _), attached(loop, ending) as (peer, connection):
        connection.drain()
        turn_until(loop, lambda: connection.stage == Stage.LINGERING)
        told = told_of(loop)
        other.send(frame(b"m") * 5)
        turn_until(loop, lambda: told)
        peer.close()
        turn_until(loop, lambda: connection.closed)
    assert told[:2] == [(Stage.OPEN, 5), (Stage.CLOSED, 0)]
    assert ending.events[-1] == str(CloseReason.SHUTDOWN)


def test_a_connect_that_fails_has_none(loop: EventLoop) -> None:
    refused = Counting()
    with attached(loop, Counting()) as (other, _), socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
        server.close()
        told = told_of(loop)
        other.send(frame(b"m") * 5)
        turn_until(loop, lambda: told)
        connecting = socket.socket()
        connecting.setblocking(False)
        connecting.connect_ex(nobody)
        loop.attach(connecting, refused)
        turn_until(loop, lambda: refused.events)
        assert told == [(Stage.OPEN, 5), (Stage.CLOSED, 0)]
    assert refused.events == [str(CloseReason.REFUSED)]
