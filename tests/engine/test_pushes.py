"""What other threads send: all of it, in order, and no more than a connection may hold."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, memory

KIB, MIB = 1 << 10, 1 << 20


class Held(Recorder):
    """Holds the loop with its first message until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go_on = threading.Event(), threading.Event()

    def connected(self, connection: Connection) -> None:
        connection.join("all")
        super().connected(connection)

    def received(self, message: bytes, connection: Connection) -> Any:
        self.held.set()
        assert self.go_on.wait(DEADLINE)

    def hold(self, peer: Peer) -> None:
        peer.send(frame(b"hold"))
        assert self.held.wait(DEADLINE)


@pytest.mark.parametrize("how", ["sent", "published"])
def test_small_and_large_ones_come_in_order(engine: Engine, how: str) -> None:
    handler = Held()
    messages = [bytes([number % 256]) * size for number, size in enumerate([1, 600, 3] * 200)]
    with (
        engine.server(handler, slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        connection = handler.connection()
        handler.hold(peer)
        for number, message in enumerate(messages):
            if how == "sent" or number % 2:
                connection.send(message)
            else:
                server.publish("all", message)
        connection.close()  # comes behind them
        handler.go_on.set()
        assert peer.receive_all() == b"".join(map(frame, messages))
        assert handler.end() is CloseReason.LOCAL


@pytest.mark.parametrize("how", ["sent", "published"])
def test_none_overtakes_a_reply_that_its_thread_returned_before(engine: Engine, how: str) -> None:
    held, all_begun = threading.Event(), threading.Event()
    count = 16

    def hold() -> None:
        held.set()
        assert all_begun.wait(DEADLINE)

    def received(message: bytes, connection: Connection) -> bytes:
        if message == b"0":  # all that follows waits for the loop together
            server._started.call_threadsafe(hold)
            assert held.wait(DEADLINE)
            connection.join("all")
        if message == b"%d" % (count - 1):
            all_begun.set()
        if how == "sent":
            connection.send(b"progress " + message)
        else:
            server.publish("all", b"progress " + message)
        return b"reply " + message

    with (
        engine.server(received, threads=1, in_flight=count, slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        numbers = [b"%d" % number for number in range(count)]
        peer.send(b"".join(map(frame, numbers)))
        expected = b"".join(frame(b"progress " + n) + frame(b"reply " + n) for n in numbers)
        assert peer.receive(len(expected)) == expected


def test_small_ones_take_little_more_memory_than_their_bytes(engine: Engine) -> None:
    handler = Held()
    with (
        engine.server(handler, slow_handler=0, graceful_timeout=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        connection = handler.connection()
        handler.hold(peer)
        with memory() as taken:
            for _ in range(20_000):
                connection.send(b"four")
            held = taken()
        handler.go_on.set()
        assert peer.receive(8 * 20_000) == frame(b"four") * 20_000
    assert held < 2 * 8 * 20_000


@pytest.mark.parametrize("calls", [0, 1], ids=["alone", "between other calls of the loop"])
def test_the_thread_that_sends_too_much_is_told_and_the_connection_closed(
    engine: Engine, calls: int
) -> None:
    handler = Held()
    with (
        engine.server(handler, max_unsent="1MiB", slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        connection = handler.connection()
        handler.connection()
        handler.hold(other)
        for _ in range(11):  # one of them does not count
            connection.send(bytes(100 * KIB))
            for _ in range(calls):
                server._started.call_threadsafe(lambda: None)
        with pytest.raises(ConnectionClosed, match="takes no messages"):
            connection.send(bytes(100 * KIB))
        with pytest.raises(ConnectionClosed):
            connection.send(b"no more")
        handler.go_on.set()
        assert handler.end() is CloseReason.SLOW_CONSUMER
        with pytest.raises(ConnectionError):
            peer.receive(1)


def test_a_frame_larger_than_max_unsent_is_taken_and_one_behind_it(engine: Engine) -> None:
    handler = Held()
    with (
        engine.server(handler, max_unsent="1MiB", max_frame="8MiB", slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        connection = handler.connection()
        handler.hold(peer)
        connection.send(b"before")
        connection.send(bytes(4 * MIB))
        connection.send(b"behind")
        handler.go_on.set()
        received = peer.receive(10 + 4 + 4 * MIB + 10)
        assert received == frame(b"before") + frame(bytes(4 * MIB)) + frame(b"behind")


def test_what_the_loop_has_queued_counts_no_more(engine: Engine) -> None:
    handler = Held()
    with (
        engine.server(handler, max_unsent="1MiB", slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        connection = handler.connection()
        for _ in range(10):
            for _ in range(8):
                connection.send(bytes(100 * KIB))
                server._started.call_threadsafe(lambda: None)
            assert len(peer.receive(8 * (4 + 100 * KIB))) == 8 * (4 + 100 * KIB)


def test_what_is_published_to_many_is_held_once(engine: Engine) -> None:
    handler = Held()
    with (
        engine.server(handler, slow_handler=0, graceful_timeout=0) as server,
        ExitStack() as stack,
    ):
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(20)]
        for _ in peers:
            handler.connection()
        handler.hold(peers[0])
        with memory() as taken:
            server.publish("all", bytes(MIB // 2))
            held = taken()
        handler.go_on.set()
        for peer in peers:
            assert peer.receive(4 + MIB // 2) == frame(bytes(MIB // 2))
    assert held < MIB
