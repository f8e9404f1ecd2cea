"""Bytes out: what is kept of them, and what is watched for, also if memory is short."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from epollo import Server
from epollo.engine import EventLoop, available
from epollo.engine.events import READ, WRITE
from epollo.framing import parse
from tests.engine.support import Protocol, attached, turn_until
from tests.logs import Log
from tests.support import Peer, frame


def test_the_poller_is_asked_about_room_only_while_bytes_are_unsent(loop: EventLoop) -> None:
    """Also if it is a filter, between two messages, whose output makes the kernel take the last."""
    protocol = Protocol()
    with attached(loop, protocol) as (peer, connection):
        while not connection.unsent:
            connection.transmit(bytes(1 << 16))
        turn_until(loop, lambda: connection._events & WRITE)
        peer.setblocking(False)
        while connection.unsent:
            try:
                peer.recv(1 << 20)
            except BlockingIOError:
                loop.poll(0)
            else:
                connection.transmit(b"of a filter")
        turn_until(loop, lambda: connection._events == READ)


def test_replies_of_no_bytes_are_not_kept(loop: EventLoop) -> None:
    protocol = Protocol(received=lambda *_: b"")
    protocol.framing = parse("raw")
    with attached(loop, protocol) as (peer, connection):
        for _ in range(5):
            peer.send(b"one")
            loop.poll()
            loop.poll(0)
        assert not getattr(connection, "outbox", None)


@pytest.fixture
def memory_fails() -> Iterator[Any]:
    """CPython's own switch for its tests: lets chosen allocations fail."""
    testcapi = pytest.importorskip("_testcapi")
    yield testcapi
    testcapi.remove_mem_hooks()


@pytest.mark.skipif("native" not in available(), reason="the native engine is not built")
def test_without_memory_for_the_rest_of_a_message_no_byte_is_sent_twice(
    log: Log, memory_fails: Any
) -> None:
    large = b"x" * (8 << 20)  # the kernel takes about the half of it
    fails = iter(range(4))

    def received(message: bytes) -> bytes:
        if message == b"turn":
            memory_fails.remove_mem_hooks()
            return message
        at = next(fails)
        memory_fails.set_nomemory(at, at + 1)  # one allocation, once this has returned
        return large

    with (
        Server(received, "127.0.0.1:0", engine="native", max_frame="16MiB") as server,
        Peer(server.addresses[0]) as other,
    ):
        streams = [stream_of(server.addresses[0], other) for _ in range(4)]
    log.take()
    assert [stream == frame(large)[: len(stream)] for stream in streams] == [True] * 4


def stream_of(where: str, other: Peer) -> bytes:
    """What a peer is sent, which begins to read when that has failed: up to the reset, if one
    comes."""
    received = b""
    with Peer(where) as peer, suppress(ConnectionError):
        peer.send(frame(b"all of it"))
        peer.socket.recv(1, socket.MSG_PEEK)
        assert other.ask(b"turn") == b"turn"
        while piece := peer.socket.recv(1 << 20):
            received += piece
            if len(received) == 4 + (8 << 20):
                break
    return received
