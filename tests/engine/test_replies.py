"""Replies of several messages: in order, as the peer takes them, and to their end or the peer's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection
from epollo.engine.replies import MOST_MESSAGES, size_of
from tests.certificates import Files
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, until

KIB = 1 << 10
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "threads": {"threads": 2},
    "threads in flight": {"threads": 4, "in_flight": 4},
    "async": {"loop": "asyncio"},
    "async in flight": {"loop": "asyncio", "in_flight": 4},
    "async generator": {"loop": "asyncio"},
    "async generator in flight": {"loop": "asyncio", "in_flight": 4},
    "async, a generator at once": {"loop": "asyncio", "in_flight": 4},
    "async, a generator later": {"loop": "asyncio", "in_flight": 4},
}
every_way = pytest.mark.parametrize("way", SETTINGS)


class Replying(Recorder):
    """Answers ``N`` with the messages that a function makes of N."""

    def __init__(self, make: Callable[[bytes], Any]) -> None:
        super().__init__()
        self.make = make
        self.made = 0
        self.released = threading.Event()

    def received(self, message: bytes, connection: Connection) -> Any:
        return self.make(message)


class AsyncReplying(Replying):
    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        return self.make(message)


class Generating(Replying):
    async def received(self, message: bytes, connection: Connection) -> Any:
        made = self.make(message)
        if isinstance(made, bytes):
            yield made
            return
        try:
            for each in made:
                yield each
        finally:
            if isinstance(made, Generator):
                made.close()


class GeneratingAtOnce(Replying):
    async def received(self, message: bytes, connection: Connection) -> Any:
        return Generating.received(self, message, connection)  # type: ignore[arg-type]


class GeneratingLater(Replying):
    async def received(self, message: bytes, connection: Connection) -> Any:
        await asyncio.sleep(0)
        return Generating.received(self, message, connection)  # type: ignore[arg-type]


HANDLERS = {
    "async": AsyncReplying,
    "async in flight": AsyncReplying,
    "async generator": Generating,
    "async generator in flight": Generating,
    "async, a generator at once": GeneratingAtOnce,
    "async, a generator later": GeneratingLater,
}


def handler(way: str, make: Callable[[bytes], Any]) -> Replying:
    return HANDLERS.get(way, Replying)(make)


def counted(message: bytes) -> Iterator[bytes]:
    """Twice as many as one part has, with the message in front of each."""
    for number in range(2 * MOST_MESSAGES + 1):
        yield b"%b %d" % (message, number)


def expected(*messages: bytes) -> bytes:
    return b"".join(frame(each) for message in messages for each in counted(message))


@every_way
@pytest.mark.parametrize("kind", [iter, list], ids=["generator", "list"])
def test_they_come_in_the_order_of_their_messages(engine: Engine, way: str, kind: Any) -> None:
    with (
        engine.server(handler(way, lambda m: kind(counted(m))), **SETTINGS[way]) as server,
        Peer(server.addresses[0]) as peer,
    ):
        names = [b"one", b"two", b"three", b"four", b"five"]
        peer.send(b"".join(map(frame, names)))
        peer.end()
        assert peer.receive_all() == expected(*names)


@every_way
def test_a_small_message_comes_behind_an_iterable_that_waits_for_the_peer(
    engine: Engine, tmp_path: Path, way: str
) -> None:
    large = 64 * KIB

    def make(message: bytes) -> Any:
        return (bytes(large) for _ in range(32)) if message == b"large" else message

    bind = f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(handler(way, make), bind=bind, **SETTINGS[way]) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        peer.send(frame(b"large") + frame(b"small"))
        assert peer.receive(100) == frame(bytes(large))[:100]
        assert other.ask(b"turn") == b"turn"
        peer.end()
        assert peer.receive_all() == (frame(bytes(large)) * 32)[100:] + frame(b"small")


@every_way
def test_a_generator_is_closed_when_the_peer_leaves(
    engine: Engine, tmp_path: Path, way: str
) -> None:
    released, told = threading.Event(), list[bool]()

    def make(_: bytes) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(64 * KIB)
        finally:
            released.set()

    class Told(type(handler(way, make))):  # type: ignore[misc]
        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            told.append(released.is_set())
            super().disconnected(connection, reason)

    bind, recorder = f"unix:{tmp_path / 'socket'}", Told(make)
    with (
        engine.server(recorder, bind=bind, **SETTINGS[way]) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"all"))
        peer.receive(4)
        peer.socket.close()
        assert released.wait(DEADLINE)
        recorder.end()
    assert told == [True]


@every_way
def test_an_endless_reply_keeps_no_other_peer_waiting(engine: Engine, way: str) -> None:
    """Its peer takes all that it is sent at once."""

    def make(message: bytes) -> Any:
        return iter(lambda: b"more", None) if message == b"endless" else message

    with (
        engine.server(handler(way, make), graceful_timeout=0, **SETTINGS[way]) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        peer.send(frame(b"endless"))
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                peer.receive(8)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(10):
                assert other.ask(b"still") == b"still"
        finally:
            stop.set()
            reader.join()


@every_way
def test_what_it_raises_ends_the_connection_behind_what_it_has_made(
    engine: Engine, log: Log, way: str
) -> None:
    def make(message: bytes) -> Iterator[bytes]:
        yield from counted(message)
        raise ZeroDivisionError

    recorder = handler(way, make)
    with engine.server(recorder, **SETTINGS[way]) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"one") + frame(b"two"))
        received = peer.receive_all()
        assert recorder.end() is CloseReason.HANDLER_ERROR
    assert len(log.take()) == 1
    whole = expected(b"one")
    assert whole.startswith(received)
    assert received == whole or way.startswith("threads")  # there, the last part is lost


@every_way
def test_a_stop_sends_all_of_it(engine: Engine, tmp_path: Path, way: str) -> None:
    made = threading.Event()

    def make(_: bytes) -> Iterator[bytes]:
        for number in range(32):
            made.set()
            yield bytes([number]) * 64 * KIB

    bind = f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(handler(way, make), bind=bind, **SETTINGS[way]) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"all"))
        assert made.wait(DEADLINE)
        server.stop()
        assert peer.receive_all() == b"".join(frame(bytes([n]) * 64 * KIB) for n in range(32))


@every_way
def test_it_is_encrypted_as_the_peer_takes_it(
    engine: Engine, files: Files, tmp_path: Path, way: str
) -> None:
    lead, taken = [0], [0]

    def make(_: bytes) -> Iterator[bytes]:
        for number in range(256):
            lead[0] = max(lead[0], number * 64 * KIB - taken[0])
            yield bytes(64 * KIB)

    settings = {**files.settings, **SETTINGS[way], "max_unsent": "256KiB"}
    bind = f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(handler(way, make), bind=bind, **settings) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.socket = files.client().wrap_socket(peer.socket, server_hostname="localhost")
        peer.send(frame(b"all"))
        for _ in range(256):
            assert peer.receive(4 + 64 * KIB) == frame(bytes(64 * KIB))
            taken[0] += 64 * KIB
    assert lead[0] < 1 << 20


def test_the_bytes_of_a_reply_in_memory() -> None:
    assert size_of(None) == size_of(iter([b"four"])) == 0
    assert size_of(b"four") == size_of(bytearray(4)) == size_of(memoryview(b"four")) == 4
    assert size_of([b"four", bytearray(3)]) == 7


def test_unordered_replies_may_mix_but_are_all_sent(engine: Engine) -> None:
    with (
        engine.server(handler("threads", counted), threads=4, in_flight=4, ordered=False) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"one") + frame(b"two"))
        received: list[bytes] = []
        until(lambda: server.counters.open == 1)
        for _ in range(2 * (2 * MOST_MESSAGES + 1)):
            size = int.from_bytes(peer.receive(4), "big")
            received.append(peer.receive(size))
        for name in (b"one", b"two"):
            assert [each for each in received if each.startswith(name)] == list(counted(name))
