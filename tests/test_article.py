"""What the article got wrong: each of its mistakes, and the promise that stands in its place."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection
from epollo.engine import EventLoop
from tests.engine.support import Protocol, turn_until
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Bomb, Peer, Recorder, frame, serving, shim, until

MIB = 1 << 20


@pytest.fixture(scope="session")
def shortsend(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that makes sends short, compiled."""
    return shim("shortsend", tmp_path_factory.mktemp("shortsend"))


@pytest.mark.parametrize(
    ("size", "env"),
    [
        pytest.param(MIB >> 4, {"SHORT_SEND": "1"}, id="64KB-by-1-byte"),
        pytest.param(20 * MIB, {"SHORT_SEND": "600"}, id="20MB-by-600-bytes"),
        pytest.param(8 * MIB, {"EAGAIN_EVERY": "3"}, id="8MB-every-third-refused"),
    ],
)
def test_a_short_send_loses_nothing(
    engine: Engine, shortsend: str, size: int, env: dict[str, str]
) -> None:
    limits = ["--max-frame", "21MiB", "--max-unsent", "60MiB"]
    message = os.urandom(min(size, MIB)) * max(1, size // MIB)
    with (
        serving(*engine.flags, *limits, env={"LD_PRELOAD": shortsend, **env}) as server,
        Peer(server.address) as peer,
    ):
        reply = peer.ask(message)
    assert len(reply) == len(message)
    assert hashlib.sha256(reply).digest() == hashlib.sha256(message).digest()


def test_eagain_in_the_middle_of_replies_loses_nothing(engine: Engine) -> None:
    handler = Recorder()
    sent = b"".join(frame(b"%06d" % number + os.urandom(1000)) for number in range(20_000))
    with engine.server(handler) as server, Peer(server.addresses[0], receive_buffer=4096) as peer:
        position = _send_until_held_back(peer, sent, handler.connection())
        with ThreadPoolExecutor(1) as sender:
            sender.submit(peer.send, sent[position:])
            assert peer.receive(len(sent)) == sent


HIGH_WATER = 64 << 10  # bytes that a server keeps for a peer before it reads no more of it


def _send_until_held_back(
    peer: Peer, data: bytes, connection: Connection, high_water: int = HIGH_WATER
) -> int:
    """Send until the server, whose replies are not taken, reads no more and the kernel takes no
    more; how much was sent."""
    position = 0

    def is_full() -> bool:
        """Was the server over its mark before the kernel took no more?"""
        nonlocal position
        over = connection.unsent > high_water
        try:
            while position < len(data):
                position += peer.socket.send(data[position : position + 65536])
        except BlockingIOError:
            return over
        raise AssertionError("the server took all of it")

    peer.socket.setblocking(False)
    until(is_full)
    peer.socket.settimeout(DEADLINE)
    return position


def test_a_reset_while_reading_closes_that_connection_alone(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as other:
        assert other.ask(b"before") == b"before"
        peer = Peer(server.addresses[0])
        peer.send(frame(b"whole") + frame(b"cut")[:5])
        assert handler.message() == b"before"
        assert handler.message() == b"whole"
        peer.reset()
        assert handler.end() is CloseReason.RESET
        assert other.ask(b"after") == b"after"


def test_a_reset_while_sending_closes_that_connection_alone(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as other:
        assert other.ask(b"before") == b"before"
        peer = Peer(server.addresses[0], receive_buffer=4096)
        handler.connection()
        connection = handler.connection()
        _send_until_held_back(peer, frame(bytes(1000)) * 20_000, connection)
        peer.reset()
        assert handler.end() is CloseReason.RESET
        assert connection.unsent == 0
        assert other.ask(b"after") == b"after"


def test_a_half_closed_client_gets_all_of_its_replies(engine: Engine) -> None:
    handler = Recorder()
    requests = b"".join(frame(b"%d" % number) for number in range(1000))
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(requests)
        peer.end()
        assert peer.receive_all() == requests
        assert handler.end() is CloseReason.EOF


def test_a_half_closed_client_that_reads_late_gets_all_of_its_replies(engine: Engine) -> None:
    handler = Recorder()
    requests = frame(bytes(1000)) * 20_000
    with (
        engine.server(handler, high_water="1KiB") as server,
        Peer(server.addresses[0], receive_buffer=4096) as peer,
    ):
        position = _send_until_held_back(peer, requests, handler.connection(), 1 << 10)
        with ThreadPoolExecutor(1) as sender:
            sender.submit(peer.send, requests[position:]).add_done_callback(lambda _: peer.end())
            assert peer.receive_all() == requests
        assert handler.end() is CloseReason.EOF


THREE = [b"first", b"", b"third message"]


def test_several_messages_in_one_read_are_several_messages(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        sent = b"".join(map(frame, THREE))
        peer.send(sent)
        assert [handler.message() for _ in THREE] == THREE
        assert peer.receive(len(sent)) == sent


def test_a_message_over_two_reads_is_one_message_at_every_split(loop: EventLoop) -> None:
    stream = b"".join(map(frame, THREE))
    for split in range(len(stream) + 1):
        received = _served(loop, stream[:split], stream[split:])
        assert received == THREE, f"split at {split}"


def test_a_message_byte_by_byte_is_one_message(loop: EventLoop) -> None:
    stream = b"".join(map(frame, THREE))
    assert _served(loop, *(stream[n : n + 1] for n in range(len(stream)))) == THREE


class Collector(Protocol):
    """The protocol of a connection whose messages a test wants to see."""

    def __init__(self) -> None:
        super().__init__(self.keep)
        self.messages: list[bytes] = []

    def keep(self, message: bytes, connection: Connection) -> None:
        self.messages.append(message)


def _served(loop: EventLoop, *parts: bytes) -> list[bytes]:
    """The messages that the handler gets when the parts come one read at a time."""
    peer, ours = socket.socketpair()
    protocol = Collector()
    loop.attach(ours, protocol)
    with peer:
        for part in parts:
            peer.sendall(part)
            loop.poll(0)
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "eof"]
    return protocol.messages


def test_a_descriptor_closed_within_a_batch_is_not_served_as_its_successor(
    loop: EventLoop,
) -> None:
    """Both sockets are ready in one batch; who is served first closes the other, and opens a new
    connection, which would get the closed one's number, and its event."""
    newcomer = Collector()
    kept: list[socket.socket] = []

    class Closer(Collector):
        other: Connection

        def keep(self, message: bytes, connection: Connection) -> None:
            super().keep(message, connection)
            self.other.abort()
            ours, theirs = socket.socketpair()  # the first one gets the lowest number
            kept.append(theirs)
            loop.attach(ours, newcomer)
            theirs.sendall(frame(b"for the newcomer"))

    first, second = Closer(), Closer()
    (peer1, ours1), (peer2, ours2) = socket.socketpair(), socket.socketpair()
    second.other = loop.attach(ours1, first)
    first.other = loop.attach(ours2, second)
    with peer1, peer2:
        peer1.sendall(frame(b"one"))
        peer2.sendall(frame(b"two"))
        turn_until(loop, lambda: newcomer.messages)
        assert sorted(map(len, (first.messages, second.messages))) == [0, 1]
        assert newcomer.messages == [b"for the newcomer"]
    kept[0].close()


def test_reused_descriptors_bring_no_byte_to_the_wrong_peer(engine: Engine) -> None:
    with engine.server(Recorder()) as server, Peer(server.addresses[0]) as other:
        for number in range(2000):
            with Peer(server.addresses[0]) as peer:
                assert peer.ask(b"%d" % number) == b"%d" % number
            if number % 100 == 0:
                assert other.ask(b"still %d" % number) == b"still %d" % number


def test_a_peer_that_never_reads_is_held_back_at_the_high_water_mark(engine: Engine) -> None:
    handler = Recorder()
    with (
        engine.server(handler, high_water="64KiB", max_unsent="1MiB") as server,
        Peer(server.addresses[0], receive_buffer=4096) as peer,
    ):
        connection = handler.connection()
        _send_until_held_back(peer, frame(bytes(1000)) * 20_000, connection)
        assert HIGH_WATER < connection.unsent <= HIGH_WATER + 1004
        assert not connection.closed
        connection.loop.call_threadsafe(connection.abort)  # type: ignore[attr-defined]
        assert handler.end() is CloseReason.LOCAL


def test_a_peer_that_never_reads_what_is_pushed_is_closed_as_slow_consumer(
    engine: Engine,
) -> None:
    class Flood(Recorder):
        most = 0

        def received(self, message: bytes, connection: Connection) -> Any:
            while not connection.closed:
                self.most = max(self.most, connection.unsent)
                connection.send(bytes(1000))

    handler = Flood()
    with (
        engine.server(handler, max_unsent="1MiB") as server,
        Peer(server.addresses[0], receive_buffer=4096) as peer,
    ):
        peer.send(frame(b"go"))
        assert handler.end() is CloseReason.SLOW_CONSUMER
        assert handler.most <= MIB + 1004
        assert handler.connection().unsent == 0


def test_a_peer_that_never_reads_is_closed_where_the_cap_is_under_the_high_water_mark(
    engine: Engine,
) -> None:
    handler = Recorder()
    with (
        engine.server(handler, max_unsent="32KiB") as server,
        Peer(server.addresses[0], receive_buffer=4096) as peer,
    ):
        with pytest.raises(ConnectionError):
            peer.send(frame(bytes(1000)) * 100_000)
        assert handler.end() is CloseReason.SLOW_CONSUMER


def test_a_length_of_4_gigabytes_is_refused_at_once_and_allocates_nothing(engine: Engine) -> None:
    with serving(*engine.flags) as server:
        _announce_4_gigabytes(server.address, 100)  # what the first ones cost stays, once
        before = server.rss
        _announce_4_gigabytes(server.address, 1000)
        assert server.rss - before < MIB


def _announce_4_gigabytes(address: str, times: int) -> None:
    for _ in range(times):
        with Peer(address) as peer:
            peer.send(b"\xff\xff\xff\xff")
            assert peer.receive_all() == b""


def test_a_frame_over_the_limit_ends_its_connection_behind_the_replies_before_it(
    engine: Engine,
) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"good") + b"\xff\xff\xff\xff" + bytes(100_000))
        assert peer.receive_all() == frame(b"good")
        peer.close()
        assert handler.end() is CloseReason.FRAME_TOO_LARGE


def test_bytes_from_the_network_are_never_unpickled(engine: Engine, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    with engine.server(Recorder()) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(bomb) == bomb
    assert not (tmp_path / "exploded").exists()


def test_a_handler_that_raises_closes_its_own_connection_and_harms_nobody(
    engine: Engine, log: Log
) -> None:
    class Fragile(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            if message == b"bad":
                raise ZeroDivisionError("a bug in the handler")
            return message

    handler = Fragile()
    with engine.server(handler) as server, Peer(server.addresses[0]) as other:
        assert other.ask(b"before") == b"before"
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"good") + frame(b"bad") + frame(b"never handled"))
            assert peer.receive_all() == frame(b"good")
        assert handler.end() is CloseReason.HANDLER_ERROR
        assert other.ask(b"after") == b"after"
        (record,) = log.records
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ZeroDivisionError)
        assert "Fragile raised" in log.take()[0]
