"""The budget over what all connections hold: the largest holder is closed first, in time."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from epollo.framing import Decoder, Framing
from tests.certificates import server_context, trusting
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, closed, frame, until

MIB = 1 << 20
READ = 256 << 10  # bytes of one read, by which the budget may be exceeded


def held(server: Server) -> int:
    """Bytes that all connections hold."""
    return sum(each.buffered for each in server.connections)  # type: ignore[attr-defined]


def holds(connection: Any, size: int) -> bool:
    return bool(connection.closed or connection.buffered >= size)


def take(log: Log) -> list[str]:
    """The lines about the budget; and there are no others."""
    lines = log.take()
    assert all("max_memory" in line for line in lines), lines
    return lines


def test_the_largest_holder_of_output_is_closed_first(engine: Engine, log: Log) -> None:
    handler = Recorder()
    with engine.server(handler, max_memory=4 * MIB, high_water=16 * MIB) as server:
        peers = [Peer(server.addresses[0], 4096) for _ in range(3)]
        small, large, third = (handler.connection() for _ in peers)
        push(server, small, MIB)
        push(server, large, 2 * MIB)
        assert server.counters.closed[CloseReason.MEMORY] == 0
        push(server, third, int(1.5 * MIB))
        until(lambda: large.closed)
        assert closed(server, CloseReason.MEMORY) == 1
        assert not small.closed
        assert not third.closed
        assert held(server) <= 4 * MIB
        (line,) = take(log)
        assert f"closed {large.peername}" in line
        for peer in peers:
            peer.reset()
    assert handler.end() is CloseReason.MEMORY


def push(server: Server, connection: Any, size: int) -> None:
    """Send messages until ``size`` bytes are unsent, over what the kernel takes."""
    while connection.unsent < size and not connection.closed:
        before = connection.unsent
        connection.send(bytes(64 << 10))
        until(lambda: done_since(server))
        assert connection.unsent >= before or connection.unsent == 0


def done_since(server: Server) -> bool:
    """The loop has done what it was asked for until now."""
    done = threading.Event()
    assert server._loop is not None
    server._loop.call_threadsafe(done.set)
    return done.wait(DEADLINE)


@pytest.mark.parametrize("framing", ["u32", "line", "own"])
def test_incomplete_frames_count_and_it_is_closed_in_time(
    engine: Engine, framing: str, log: Log
) -> None:
    """Each read is counted before the next: so the budget is exceeded by one read at most, and by
    a sixteenth. Peers send the beginnings of frames, and never their ends."""
    most, size = 4 * MIB, MIB
    handler = Recorder()
    chosen: Any = Own("own", 4 * MIB) if framing == "own" else framing
    begin = b"x" * size if framing == "line" else frame(bytes(2 * MIB))[:size]
    limits = {} if framing == "own" else {"max_frame": most}
    with engine.server(handler, framing=chosen, max_memory=most, **limits) as server:
        peers = [Peer(server.addresses[0]) for _ in range(10)]
        highest = 0
        for number, peer in enumerate(peers):
            connection: Any = handler.connection()
            peer.send(begin)
            until(partial(holds, connection, size))
            highest = max(highest, held(server))
            if number < 3:
                assert server.counters.closed[CloseReason.MEMORY] == 0
        assert closed(server, CloseReason.MEMORY) >= 5
        assert 3 * MIB <= highest <= most + most // 16 + READ
        for peer in peers:
            peer.reset()
    assert take(log)


class Own(Framing):
    """Somebody's own framing, whose decoder tells nothing of what it holds."""

    def encode(self, message: Any) -> bytes:
        return frame(bytes(message))

    def decoder(self) -> Decoder:
        return OwnDecoder()


class OwnDecoder(Decoder):
    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: Any) -> list[bytes]:
        self._data += bytes(data)
        return []

    def eof(self) -> None: ...


def test_messages_that_are_held_back_count(engine: Engine, log: Log) -> None:
    """One is being handled; the others of the same reads wait."""
    release = threading.Event()

    def handle(_: bytes) -> None:
        assert release.wait(DEADLINE)

    with engine.server(handle, threads=1, max_memory=MIB, max_frame="64KiB") as server:
        peers = [Peer(server.addresses[0]) for _ in range(12)]
        until(lambda: len(server.connections) == 12)
        filled = threading.Event()
        assert server._loop is not None
        server._loop.call_threadsafe(lambda: filled.wait(DEADLINE))  # so that a read finds much
        try:
            for peer in peers:
                peer.socket.settimeout(0.2)
                try:
                    peer.send(frame(bytes(1000)) * 1000)
                except OSError:  # it is not read on, or closed
                    pass
            filled.set()
            closed(server, CloseReason.MEMORY)
            assert held(server) <= MIB + MIB // 16 + READ
        finally:
            filled.set()
            release.set()
            for peer in peers:
                peer.reset()
    assert take(log)


def test_a_stream_of_tls_counts(engine: Engine, log: Log) -> None:
    handler = Recorder()
    settings = {"tls": server_context(), "max_memory": 2 * MIB, "max_frame": 2 * MIB}
    with engine.server(handler, **settings) as server:
        peers = []
        for _ in range(4):
            peer = Peer(server.addresses[0])
            peer.socket = trusting().wrap_socket(peer.socket, server_hostname="127.0.0.1")
            peers.append(peer)
            connection: Any = handler.connection()
            try:
                peer.send(frame(bytes(3 * MIB // 2))[:MIB])
            except OSError:
                pass
            until(partial(holds, connection, MIB))
        assert closed(server, CloseReason.MEMORY)
        for peer in peers:
            peer.reset()
    assert take(log)


def test_within_the_budget_nobody_is_closed(engine: Engine) -> None:
    """However much passes: what a connection was given and has sent since holds no memory."""
    with engine.server(lambda message: message, max_memory=MIB) as server:
        with Peer(server.addresses[0]) as peer:
            data = frame(bytes(500_000))
            for _ in range(40):
                peer.send(data)
                assert peer.receive(len(data)) == data
        assert server.counters.closed[CloseReason.MEMORY] == 0


def test_a_storm_is_one_line_a_second(engine: Engine, log: Log) -> None:
    handler = Recorder()
    with engine.server(handler, max_frame=MIB, max_memory=MIB) as server:
        peers = [Peer(server.addresses[0]) for _ in range(30)]
        for peer in peers:
            peer.send(frame(bytes(MIB - 4))[: MIB // 2])
        until(lambda: server.counters.closed[CloseReason.MEMORY] >= 25)
        for peer in peers:
            peer.reset()
    assert len(take(log)) < 25


def test_a_handler_is_told(engine: Engine, log: Log) -> None:
    class App(Recorder):
        def received(self, message: bytes, connection: Connection) -> list[bytes]:
            return [bytes(MIB - 4)] * 20

    handler = App()
    settings = {"high_water": 16 * MIB, "max_memory": 2 * MIB}
    with engine.server(handler, **settings) as server, Peer(server.addresses[0], 4096) as peer:
        peer.send(frame(b"go"))
        assert handler.end() is CloseReason.MEMORY
    assert take(log)
