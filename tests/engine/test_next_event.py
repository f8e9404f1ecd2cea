"""What is told of the next event of a connection, and that nothing else changes by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from epollo import CloseReason, Connection
from epollo.engine import EventLoop
from epollo.engine.connection import BaseConnection
from tests.engine.support import Protocol, attached, turn_until
from tests.support import DEADLINE, frame


def test_it_is_told_once_before_and_after_the_message(loop: EventLoop) -> None:
    told: list[str] = []

    def note(message: bytes, connection: Connection) -> bytes:
        told.append(message.decode())
        return message

    with attached(loop, Protocol(note)) as (peer, connection):
        event = connection.watch_next_event(
            lambda events: told.append(f"before {events}"), lambda: told.append("after")
        )
        assert event is not None
        for message in (b"one", b"two"):
            peer.send(frame(message))
            turn_until(loop, partial(told.__contains__, message.decode()))
            assert peer.recv(100) == frame(message)
    assert told == ["before 1", "one", "after", "two"]


def test_a_cancelled_one_is_not_told(loop: EventLoop) -> None:
    told: list[object] = []
    with attached(loop, Protocol()) as (peer, connection):
        event = connection.watch_next_event(told.append, lambda: told.append("after"))
        assert event is not None
        event.cancel()
        peer.send(frame(b"hello"))
        assert loop.poll(DEADLINE) == 1
        assert peer.recv(100) == frame(b"hello")
    assert told == []


def test_a_connection_that_is_paused_has_none(loop: EventLoop) -> None:
    with attached(loop, Protocol()) as (_, connection):
        connection.pause_reading()
        assert connection.watch_next_event(lambda _: None, lambda: None) is None
        connection.resume_reading()


@pytest.mark.parametrize("end", [BaseConnection.close, BaseConnection.abort])
def test_a_connection_may_end_while_it_is_watched(
    loop: EventLoop, end: Callable[[BaseConnection], None]
) -> None:
    protocol = Protocol()
    with attached(loop, protocol) as (_, connection):
        assert connection.watch_next_event(lambda _: None, lambda: None) is not None
        end(connection)
        turn_until(loop, lambda: connection.closed)


def test_an_end_of_stream_is_told_and_ends_the_connection(loop: EventLoop) -> None:
    told: list[int] = []
    protocol = Protocol()
    with attached(loop, protocol) as (peer, connection):
        connection.watch_next_event(told.append, lambda: None)
        peer.close()
        turn_until(loop, lambda: connection.closed)
        assert connection.reason is CloseReason.EOF
    assert len(told) == 1
    assert told != [1]  # more than something to read


def test_it_may_drop_the_connection(loop: EventLoop) -> None:
    heard: list[bytes] = []

    def note(message: bytes, _: Connection) -> None:
        heard.append(message)

    with attached(loop, Protocol(note)) as (peer, connection):
        connection.watch_next_event(
            lambda _: connection.drop(CloseReason.RESET, None), lambda: None
        )
        peer.send(frame(b"unheard"))
        turn_until(loop, lambda: connection.closed)
    assert heard == []


def test_it_is_served_among_the_messages_and_not_after_them(loop: EventLoop) -> None:
    order: list[bytes] = []

    def note(message: bytes, _: Connection) -> None:
        order.append(message)

    with (
        attached(loop, Protocol(note)) as (first, watched),
        attached(loop, Protocol(note)) as (second, _),
    ):
        watched.watch_next_event(lambda _: None, lambda: None)
        first.send(frame(b"first"))
        second.send(frame(b"second"))
        turn_until(loop, lambda: len(order) == 2)
    assert order == [b"first", b"second"]
