"""Flow control: the memory that one connection takes, and replies that are larger than it."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from epollo import Connection, ConnectionClosed
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, happens, memory

KIB, MIB = 1 << 10, 1 << 20


class Held:
    """A handler that holds the loop with its first message until the test lets it go on."""

    def __init__(self) -> None:
        self.opened: queue.Queue[Connection] = queue.Queue()
        self.held, self.go_on = threading.Event(), threading.Event()

    def connected(self, connection: Connection) -> None:
        connection.join("all")
        self.opened.put(connection)

    def received(self, message: bytes) -> None:
        self.held.set()
        assert self.go_on.wait(DEADLINE)


@pytest.mark.parametrize("how", ["sent", "published"])
def test_what_other_threads_send_is_bounded_while_a_handler_holds_the_loop(
    engine: Engine, how: str
) -> None:
    handler = Held()
    with (
        engine.server(handler, max_unsent="1MiB", slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
    ):
        connection = handler.opened.get(timeout=DEADLINE)
        peer.send(frame(b"hold"))
        assert handler.held.wait(DEADLINE)
        try:
            with memory() as taken:
                send_many(
                    connection.send if how == "sent" else lambda data: server.publish("all", data)
                )
                held = taken()
        finally:
            handler.go_on.set()
    assert held < 4 * MIB


def send_many(send: Callable[[bytes], object]) -> None:
    """Sixteen times what the connection may hold, or less if it takes no more."""
    try:
        for _ in range(64):
            send(bytes(256 * KIB))
    except ConnectionClosed:
        pass


def test_small_messages_unsent_take_little_more_memory_than_their_bytes(
    engine: Engine, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found: queue.Queue[tuple[int, int]] = queue.Queue()

    def received(message: bytes, connection: Connection) -> None:
        with memory() as taken:
            while connection.unsent < 64 * KIB:
                connection.send(b"four")
            found.put((taken(), connection.unsent))

    bind = f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(received, bind=bind, framing="u8", high_water="1MiB") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(b"\4send")
        taken, unsent = found.get(timeout=DEADLINE)
        peer.reset()
    assert taken < 3 * unsent


def test_small_messages_held_back_take_little_more_memory_than_their_bytes(
    engine: Engine, tmp_path: Path
) -> None:
    handler = Held()
    stream = b"\2on" * 50_000

    class Pausing(Recorder):
        """Takes one message, and no more."""

        def received(self, message: bytes, connection: Connection) -> Any:
            if message == b"hold":
                return handler.received(message)
            connection.pause_reading()
            return super().received(message, connection)

    pausing = Pausing()
    bind = f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(
            pausing, bind=bind, framing="u8", slow_handler=0, graceful_timeout=0
        ) as server,
        Peer(server.addresses[0]) as other,
        Peer(server.addresses[0]) as peer,
    ):
        pausing.connection()
        other.send(b"\4hold")
        assert handler.held.wait(DEADLINE)
        peer.send(stream)  # the kernel holds all of it, so one read brings it
        with memory() as taken:
            handler.go_on.set()
            assert pausing.message() == b"on"
            turned = threading.Event()
            server._started.call_threadsafe(turned.set)
            assert turned.wait(DEADLINE)
            held = taken()
    assert held < 3 * len(stream)


SMALL = {"max_frame": "2MiB", "max_unsent": "256KiB"}  # a Unix socket holds 208 KiB
LARGE = bytes(range(256)) * (MIB // 256)


def wait_for_a_turn(peer: Peer, other: Peer) -> None:
    """The reply to ``peer`` has begun to come; then the loop ended that turn and answers others."""
    peer.socket.recv(1, socket.MSG_PEEK)
    assert other.ask(b"turn") == b"turn"


def returned(message: bytes, connection: Connection) -> bytes:
    return message if message == b"turn" else LARGE


def sent(message: bytes, connection: Connection) -> None:
    connection.send(message if message == b"turn" else LARGE)


async def returned_later(message: bytes, connection: Connection) -> bytes:
    await asyncio.sleep(0)
    return returned(message, connection)


HANDLERS: list[tuple[str, Any, dict[str, Any]]] = [
    ("returned", returned, {}),
    ("sent", sent, {}),
    ("by a thread", returned, {"threads": 1}),
    ("by a coroutine", returned_later, {"loop": "asyncio"}),
]


def skip_if_not_hosted(engine: Engine, settings: dict[str, Any]) -> None:
    if "loop" in settings and engine.poller != "epoll":
        pytest.skip("no descriptor in an asyncio loop")


@pytest.mark.parametrize(("_", "handler", "settings"), HANDLERS, ids=lambda value: value)
def test_a_message_larger_than_max_unsent_reaches_a_peer_that_reads(
    engine: Engine, tmp_path: Path, _: str, handler: Any, settings: dict[str, Any]
) -> None:
    skip_if_not_hosted(engine, settings)
    with (
        engine.server(handler, bind=f"unix:{tmp_path / 'socket'}", **SMALL, **settings) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        peer.send(frame(b"all of it"))
        wait_for_a_turn(peer, other)
        whole = peer.receive(4 + len(LARGE)) == frame(LARGE)
    assert whole


def test_a_published_message_larger_than_max_unsent_reaches_a_member_that_reads(
    engine: Engine, tmp_path: Path
) -> None:
    class Member(Recorder):
        def connected(self, connection: Connection) -> None:
            connection.join("all" if self.opened.empty() else "others")
            super().connected(connection)

    handler = Member()
    with (
        engine.server(handler, bind=f"unix:{tmp_path / 'socket'}", **SMALL) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        assert other.ask(b"connected") == b"connected"
        server.publish("all", LARGE)
        wait_for_a_turn(peer, other)
        whole = peer.receive(4 + len(LARGE)) == frame(LARGE)
    assert whole


class Pulled:
    """Replies with many messages, and knows how far it is ahead of the peer that takes them."""

    count, size = 64, 64 * KIB

    def __init__(self) -> None:
        self.taken = 0  # bytes, by the peer
        self.lead = 0  # the most bytes that were made and not taken

    def messages(self) -> Iterator[bytes]:
        for number in range(self.count):
            self.lead = max(self.lead, number * self.size - self.taken)
            yield bytes([number]) * self.size


class Plain(Pulled):
    def received(self, message: bytes) -> bytes | Iterator[bytes]:
        return message if message == b"turn" else self.messages()


class Async(Pulled):
    async def received(self, message: bytes) -> bytes | Iterator[bytes]:
        await asyncio.sleep(0)
        return message if message == b"turn" else self.messages()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Plain, {}), (Plain, {"threads": 1}), (Async, {"loop": "asyncio"})],
    ids=["plain", "threads", "async"],
)
def test_the_messages_of_an_iterable_are_made_as_the_peer_takes_them(
    engine: Engine, tmp_path: Path, kind: type[Plain] | type[Async], settings: dict[str, Any]
) -> None:
    skip_if_not_hosted(engine, settings)
    handler = kind()
    with (
        engine.server(handler, bind=f"unix:{tmp_path / 'socket'}", **SMALL, **settings) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        peer.send(frame(b"all of them"))
        if "threads" not in settings:  # its one thread may wait for the peer
            wait_for_a_turn(peer, other)
        for number in range(handler.count):
            whole = peer.receive(4 + handler.size) == frame(bytes([number]) * handler.size)
            assert whole
            handler.taken += handler.size
    assert handler.lead < MIB


@pytest.mark.parametrize("kind", ["threads", "async"])
def test_replies_that_wait_for_their_turn_are_bounded(engine: Engine, kind: str) -> None:
    count, size = 32, 512 * KIB
    first, done = threading.Event(), list[bytes]()

    def received(message: bytes) -> bytes:
        if message == b"first":
            assert first.wait(DEADLINE)
        done.append(message)
        return bytes(size)

    async def received_later(message: bytes) -> bytes:
        if message == b"first":
            await asyncio.to_thread(first.wait, DEADLINE)
        done.append(message)
        return bytes(size)

    settings: dict[str, Any] = {"threads": 2} if kind == "threads" else {"loop": "asyncio"}
    skip_if_not_hosted(engine, settings)
    handler = received if kind == "threads" else received_later
    with (
        engine.server(handler, in_flight=count, max_unsent="1MiB", **settings) as server,
        Peer(server.addresses[0]) as peer,
        memory() as taken,
    ):
        peer.send(frame(b"first") + frame(b"more") * (count - 1))
        happens(lambda: len(done) == count - 1)
        held = taken()
        first.set()
        peer.reset()
    assert held < 8 * MIB
