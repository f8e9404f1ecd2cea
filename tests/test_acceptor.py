"""New connections, and what accepting them may meet."""

from __future__ import annotations

import errno
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from epollo import CloseReason
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, serving, shim


@pytest.fixture(scope="session")
def acceptfault(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The library that makes accepts fail, compiled."""
    return shim("acceptfault", tmp_path_factory.mktemp("acceptfault"))


def faulty(library: str, number: int, times: int) -> dict[str, str]:
    return {"LD_PRELOAD": library, "ACCEPT_ERRNO": str(number), "ACCEPT_FAULTS": str(times)}


def is_refused(peer: Peer) -> bool:
    """Is its stream ended, or reset, without a byte?"""
    try:
        return peer.receive_all() == b""
    except ConnectionError:
        return True


def test_a_connection_aborted_in_the_queue_is_passed_over(engine: Engine, acceptfault: str) -> None:
    env = faulty(acceptfault, errno.ECONNABORTED, 3)
    with serving(*engine.flags, env=env) as server:
        for _ in range(3):
            with Peer(server.address) as peer:
                assert is_refused(peer)
        with Peer(server.address) as peer:
            assert peer.ask(b"hello") == b"hello"
        assert server.log == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_a_descriptor_the_reserve_tells_the_peer(
    engine: Engine, acceptfault: str, number: int
) -> None:
    with serving(*engine.flags, env=faulty(acceptfault, number, 1)) as server:
        with Peer(server.address) as peer:
            assert is_refused(peer)
        with Peer(server.address) as peer:
            assert peer.ask(b"hello") == b"hello"
        (line,) = server.log
        assert "connection refused: no descriptors left; raise ulimit -n" in line


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOBUFS])
def test_where_even_the_reserve_fails_the_peer_waits_for_the_next_try(
    engine: Engine, acceptfault: str, number: int
) -> None:
    with (
        serving(*engine.flags, env=faulty(acceptfault, number, 2)) as server,
        Peer(server.address) as peer,
        Peer(server.address) as other,
    ):
        assert peer.ask(b"hello") == b"hello"
        assert other.ask(b"hello") == b"hello"
        assert 1 <= len(server.log) <= 2
        for line in server.log:
            assert f"cannot accept: {os.strerror(number)}; trying again in 1 s" in line


def test_an_accepted_socket_has_the_options_of_its_listener(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, keepalive="90s") as server, Peer(server.addresses[0]):
        sock: socket.socket = handler.connection().socket  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 90


@pytest.mark.parametrize("grace", [0, 5])
def test_no_peer_that_comes_while_the_server_stops_is_left_waiting(
    engine: Engine, grace: float
) -> None:
    """Each is answered, or sees the end of its stream, or a reset: none waits for ever."""
    served = threading.Semaphore(0)

    def come_until_refused(where: str) -> None:
        while True:
            try:
                with Peer(where) as peer:
                    peer.send(frame(b"hello"))
                    if peer.receive(9) == frame(b"hello"):
                        served.release()
            except ConnectionRefusedError:
                return
            except ConnectionError:  # taken, or still in the queue, when the server stopped
                pass

    with ThreadPoolExecutor(8) as pool:
        with engine.server(Recorder()) as server:
            visitors = [pool.submit(come_until_refused, server.addresses[0]) for _ in range(8)]
            for _ in range(50):
                assert served.acquire(timeout=DEADLINE)
            server.stop(grace)
        for visitor in visitors:
            visitor.result(DEADLINE)
    assert server.counters.open == 0


def test_many_peers_that_vanish_at_once_leave_nothing(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server:
        peers = [Peer(server.addresses[0]) for _ in range(450)]
        for peer in peers:
            peer.send(frame(b"hello"))
        for peer in peers:
            assert peer.receive(9) == frame(b"hello")
        assert server.counters.open == 450
        for peer in peers:
            peer.reset()
        assert {handler.end() for _ in peers} == {CloseReason.RESET}
        assert server.counters.open == 0
        assert server.counters.closed[CloseReason.RESET] == 450
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"and the next") == b"and the next"
