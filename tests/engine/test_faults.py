"""What a handler, a peer or the process may do at the wrong moment, and what it must not break, on
every poller."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from epollo import Connection, address
from epollo.engine import Bounds, EventLoop, Limits
from epollo.errors import FrameCorrupt
from epollo.framing import Buffer, Decoder, Framing, parse
from tests.engine.support import Protocol, attached, turn_until, unwanted
from tests.engines import every_poller
from tests.logs import Log
from tests.support import DEADLINE, frame, in_a_fork

pytestmark = every_poller


def listening(loop: EventLoop, accept: Callable[[socket.socket], object]) -> Any:
    """The address of a listener on ``loop``."""
    listener = address.listen(address.parse("127.0.0.1:0"), 10)
    loop.listen(listener, accept, unwanted)
    return listener.getsockname()


def test_a_handler_that_closes_the_loop_ends_what_is_ready_beside_it(loop: EventLoop) -> None:
    protocol = Protocol(received=lambda *_: loop.close())
    pairs = [socket.socketpair() for _ in range(5)]
    for theirs, ours in pairs:
        loop.attach(ours, protocol)
        theirs.send(frame(b"all at once"))
    loop.poll(DEADLINE)
    for theirs, _ in pairs:
        theirs.close()
    assert protocol.events == ["connected"] * 5 + ["local"] * 5


def test_a_closed_loop_says_so(loop: EventLoop) -> None:
    loop.close()
    theirs, ours = socket.socketpair()
    for call in (loop.poll, loop.fileno, lambda: loop.attach(ours, Protocol())):
        with pytest.raises(RuntimeError, match="the loop is closed"):
            call()
    theirs.close()
    assert ours.fileno() == -1


def test_a_handler_that_reconnects_while_the_loop_closes_is_told(loop: EventLoop, log: Log) -> None:
    class Stubborn(Protocol):
        def closed(self, connection: Connection, reason: Any) -> None:
            super().closed(connection, reason)
            theirs, ours = socket.socketpair()
            theirs.close()
            loop.attach(ours, self)

    protocol = Stubborn()
    theirs, ours = socket.socketpair()
    with theirs:
        loop.attach(ours, protocol)
        loop.close()
    assert protocol.events == ["connected", "local"]
    assert log.take() == ["the handler raised in disconnected"]


def test_unlisten_and_unwatch_may_come_twice(loop: EventLoop) -> None:
    listener = address.listen(address.parse("127.0.0.1:0"), 1)
    loop.listen(listener, unwanted, unwanted)
    loop.unlisten(listener)
    loop.unlisten(listener)
    loop.unwatch(listener.fileno())
    loop.unwatch(12345)


def test_drains_that_meet_mix_no_streams(loop: EventLoop) -> None:
    """A drain reads; a handler that it calls drains another connection, which reads too."""
    heard: list[bytes] = []
    other = Protocol()

    def received(message: bytes, connection: Connection) -> bytes:
        heard.append(message)
        other_connection.drain()
        return message

    protocol = Protocol(received=received)
    with attached(loop, other) as (other_peer, other_connection):
        with attached(loop, protocol) as (peer, connection):
            messages = [b"%d" % number for number in range(10)]
            other_peer.send(frame(b"another's") * 10)
            peer.send(b"".join(map(frame, messages)))
            loop.call_threadsafe(connection.drain)
            turn_until(loop, lambda: len(protocol.events) == 2 == len(other.events))
            assert peer.recv(1000) == b"".join(map(frame, messages))
        assert other_peer.recv(1000) == frame(b"another's") * 10
    assert heard == messages


def test_a_drain_does_not_overtake_what_was_held_back(loop: EventLoop) -> None:
    heard: list[bytes] = []

    def received(message: bytes, connection: Connection) -> None:
        heard.append(message)
        if message == b"1":
            connection.pause_reading()

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"1") + frame(b"2") + frame(b"3"))
        turn_until(loop, lambda: heard)
        peer.send(frame(b"4"))
        connection.resume_reading()
        connection.drain()
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert heard == [b"1", b"2", b"3", b"4"]


def test_an_accept_that_raises_is_logged_and_the_loop_goes_on(loop: EventLoop, log: Log) -> None:
    def accept(sock: socket.socket) -> None:
        sock.close()
        raise ValueError("no")

    with socket.create_connection(listening(loop, accept), DEADLINE) as peer:
        loop.poll(DEADLINE)
        assert peer.recv(1) == b""
    assert log.take() == ["a connection could not be accepted"]


def test_more_pieces_than_one_call_takes_go_out_in_one_turn(loop: EventLoop) -> None:
    protocol = Protocol(limits=Limits(high_water=8 << 10, max_unsent=16 << 10))
    with attached(loop, protocol) as (peer, connection):
        for _ in range(200):
            connection.send(bytes(600))
        loop.poll(0)
        assert connection.unsent == 0
        received = b""
        while len(received) < 200 * 604 and (part := peer.recv(1 << 20)):
            received += part
        assert len(received) == 200 * 604
    assert protocol.events == ["connected", "eof"]


def test_a_default_timeout_for_sockets_does_not_make_the_loop_wait(loop: EventLoop) -> None:
    socket.setdefaulttimeout(3 * DEADLINE)
    try:
        protocol = Protocol(received=lambda _, connection: connection.close())
        with attached(loop, protocol) as (peer, _):
            peer.send(frame(b"close"))
            turn_until(loop, lambda: len(protocol.events) == 2)
    finally:
        socket.setdefaulttimeout(None)
    assert protocol.events == ["connected", "local"]


def test_a_reply_still_on_its_way_survives_what_the_peer_sends_after_a_close(
    loop: EventLoop,
) -> None:
    """The kernel would answer that byte with a reset, and throw the reply away (RFC 2525, 2.17)."""
    reply = bytes(900_000)

    def received(_: bytes, connection: Connection) -> bytes:
        connection.close()
        return reply

    protocol = Protocol(received=received)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.settimeout(DEADLINE)
        peer.connect(listening(loop, lambda sock: loop.attach(sock, protocol)))
        peer.sendall(frame(b"ask"))
        turn_until(loop, lambda: list(loop.connections()))
        (connection,) = loop.connections()
        turn_until(loop, lambda: connection.closed or not connection.unsent)
        peer.sendall(frame(b"and another"))
        with ThreadPoolExecutor(1) as reader:
            got = reader.submit(read_all, peer)
            got.add_done_callback(lambda _: loop.call_threadsafe(lambda: None))
            turn_until(loop, got.done)
        assert got.result() == frame(reply)
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "local"]


def read_all(peer: socket.socket) -> bytes:
    got = bytearray()
    while data := peer.recv(1 << 16):
        got += data
    return bytes(got)


def test_a_users_own_framing_may_raise_what_it_likes(loop: EventLoop) -> None:
    class Choking(Decoder):
        def feed(self, data: Buffer) -> list[bytes]:
            raise ValueError("choked")

        def eof(self) -> None:
            raise AssertionError("after an error")

    class Own(Framing):
        def encode(self, message: Buffer) -> bytes:
            return bytes(message)

        def decoder(self) -> Decoder:
            return Choking()

    protocol = Protocol(received=unwanted)
    protocol.framing = Own("own", 1 << 20)
    with attached(loop, protocol) as (peer, _):
        peer.send(b"anything")
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, ValueError)


def test_a_users_own_framing_serves_on_both_engines(loop: EventLoop) -> None:
    class Pairs(Decoder):
        def __init__(self) -> None:
            self._rest = bytearray()

        def feed(self, data: Buffer) -> list[bytes]:
            self._rest += data
            if self._rest.startswith(b"!!"):
                raise FrameCorrupt("!! is no pair")
            whole = len(self._rest) // 2 * 2
            taken, self._rest = self._rest[:whole], self._rest[whole:]
            return [bytes(taken[at : at + 2]) for at in range(0, whole, 2)]

        def eof(self) -> None:
            pass

    class Own(Framing):
        def encode(self, message: Buffer) -> bytes:
            return bytes(message) + b";"

        def decoder(self) -> Decoder:
            return Pairs()

    protocol = Protocol()
    protocol.framing = Own("pairs", 2)
    with attached(loop, protocol) as (peer, _):
        peer.send(b"aabbc")
        loop.poll(DEADLINE)
        assert peer.recv(100) == b"aa;bb;"
        peer.send(b"c")
        loop.poll(DEADLINE)
        assert peer.recv(100) == b"cc;"
        peer.send(b"!!")
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "bad_frame"]


def test_a_frame_that_only_announces_itself_takes_no_memory(loop: EventLoop) -> None:
    protocol = Protocol(received=unwanted)
    protocol.framing = parse("u32", max_frame=(1 << 32) - 1)
    with attached(loop, protocol) as (peer, _):
        before = memory()
        peer.send(b"\xff\xff\xff\x00begun")
        loop.poll(DEADLINE)
        assert memory() - before < 8 << 20
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "truncated"]


def memory() -> int:
    """Virtual memory of this process, in bytes (proc(5), statm)."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_a_forked_process_can_close_the_loop_and_the_first_goes_on(loop: EventLoop) -> None:
    protocol = Protocol()
    with attached(loop, protocol) as (peer, _):
        loop.poll(0)
        in_a_fork(loop.close)
        for number in range(1000):
            peer.send(frame(b"%d" % number))
            loop.poll(DEADLINE)
            assert peer.recv(100) == frame(b"%d" % number)


def test_what_came_later_does_not_overtake_what_was_held_back(loop: EventLoop) -> None:
    """The reply comes between two turns, as an async handler's does, when more is there to read."""
    heard: list[bytes] = []

    def received(message: bytes, connection: Any) -> None:
        heard.append(message)
        connection.defer()

    def all_answered() -> bool:
        if connection.in_flight:
            connection.answer(b"yes")
        return len(heard) == 5 and not (connection.in_flight or connection.unsent)

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"1") + frame(b"2") + frame(b"3"))
        turn_until(loop, lambda: heard)
        peer.send(frame(b"4") + frame(b"5"))
        turn_until(loop, all_answered)
        assert heard == [b"1", b"2", b"3", b"4", b"5"]
        assert peer.recv(100) == frame(b"yes") * 5


def test_a_users_own_framing_may_raise_what_it_likes_at_the_end_too(loop: EventLoop) -> None:
    class Choking(Decoder):
        def feed(self, data: Buffer) -> list[bytes]:
            return []

        def eof(self) -> None:
            raise ValueError("choked")

    class Own(Framing):
        def encode(self, message: Buffer) -> bytes:
            return bytes(message)

        def decoder(self) -> Decoder:
            return Choking()

    protocol = Protocol(received=unwanted)
    protocol.framing = Own("own", 1 << 20)
    with attached(loop, protocol) as (peer, _):
        peer.send(b"anything")
        loop.poll(DEADLINE)
        loop.enforce(Bounds(frame=1))
        peer.shutdown(socket.SHUT_WR)
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, ValueError)


def test_a_connection_without_memory_for_it_is_closed(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    if loop.name != "native":
        pytest.skip("Python's accept closes it")

    class NoMemory:
        def socket(self, *_: object) -> None:
            raise MemoryError

    monkeypatch.setattr("epollo.engine.native.listener.socket", NoMemory())
    listener = address.listen(address.parse("127.0.0.1:0"), 10)
    loop.listen(listener, unwanted, unwanted)
    with socket.create_connection(listener.getsockname(), DEADLINE) as peer:
        turn_until(loop, lambda: log.records)
        assert peer.recv(1) == b""
    assert log.take() == ["an event could not be handled"]
