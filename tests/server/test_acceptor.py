"""New connections, and errors of accepting them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from epollo import CloseReason, Connection, address
from epollo.address import SocketFile, socket_files
from epollo.engine import Limits
from epollo.framing import parse
from epollo.server.acceptor import Acceptor
from epollo.server.attacher import Attacher
from epollo.server.counters import Counters
from epollo.server.limits import ConnectionLimiter
from epollo.server.stopping import StopOverdue
from epollo.tls import client_context
from tests.certificates import Files
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, has_ipv6, serving, shim, until


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


class Held(Recorder):
    """Its message ``hold`` holds the loop until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.release = threading.Event(), threading.Event()

    def received(self, message: bytes, connection: Connection) -> bytes:
        if message == b"hold":
            self.held.set()
            assert self.release.wait(DEADLINE)
        return message


class HeldAsync(Held):
    async def received(self, message: bytes, connection: Connection) -> bytes:  # type: ignore[override]
        return super().received(message, connection)


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_stop_answers_the_requests_in_the_accept_queue(
    engine: Engine, tmp_path: Path, kind: str, where: str
) -> None:
    if kind == "async" and engine.poller != "epoll":
        pytest.skip("no descriptor in an asyncio loop")
    handler = Held() if kind == "plain" else HeldAsync()
    bind = "127.0.0.1:0" if where == "tcp" else f"unix:{tmp_path / 'socket'}"
    with (
        engine.server(
            handler, bind=bind, loop="asyncio" if kind == "async" else "auto", slow_handler=0
        ) as server,
        ExitStack() as peers,
    ):
        holding = peers.enter_context(Peer(server.addresses[0]))
        holding.send(frame(b"hold"))
        assert handler.held.wait(DEADLINE)
        queued = [peers.enter_context(Peer(server.addresses[0])) for _ in range(100)]
        for peer in queued:
            peer.send(frame(b"hello"))
        server.stop()
        handler.release.set()
        assert holding.receive_all() == frame(b"hold")
        assert [all_or_nothing(peer) for peer in queued] == [frame(b"hello")] * 100


async def echo_later(message: bytes) -> bytes:
    await asyncio.sleep(0)
    return message


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (lambda message: message, {}),
    "async": (echo_later, {"loop": "asyncio"}),
    "threads": (lambda message: message, {"threads": 2}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["tcp", "both families", "unix", "proxied", "tls", "proxied tls"])
def test_whoever_is_in_the_accept_queue_of_a_server_that_stops_is_answered(
    engine: Engine, tmp_path: Path, files: Files, kind: str, way: str
) -> None:
    if way == "both families" and not has_ipv6():
        pytest.skip("no IPv6 on this machine")
    handler, settings = KINDS[kind]
    binds = {"both families": "[::]:0", "unix": f"unix:{tmp_path / 'socket'}"}
    header = b""
    if "proxied" in way:
        settings = settings | {"proxy_protocol": "required"}
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n"
    context = None
    if "tls" in way:
        settings = settings | {"tls_cert": files.cert, "tls_key": files.key}
        context = client_context("any")
    bind = binds.get(way, "127.0.0.1:0")
    held, release, sent = threading.Event(), threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        held.set()
        assert release.wait(DEADLINE)

    def ask(peer: Peer) -> bytes:
        if isinstance(peer.socket, ssl.SSLSocket):
            peer.socket.do_handshake()
        peer.send(frame(b"hello"))
        sent.release()
        return all_or_nothing(peer)

    with (
        engine.server(handler, bind=bind, slow_handler=0, **settings) as server,
        ExitStack() as stack,
    ):
        server._started.call_threadsafe(hold)
        stack.callback(release.set)
        assert held.wait(DEADLINE)
        where = server.addresses[0].replace("[::]", "127.0.0.1")
        peers = [stack.enter_context(Peer(where)) for _ in range(20)]
        for peer in peers:
            peer.send(header)
            if context is not None:
                sock = context.wrap_socket(peer.socket, do_handshake_on_connect=False)
                peer.socket = stack.enter_context(sock)
        pool = stack.enter_context(ThreadPoolExecutor(20))
        answers = [pool.submit(ask, peer) for peer in peers]
        if context is None:
            assert all(sent.acquire(timeout=DEADLINE) for _ in peers)
        else:  # the first record of each
            until(lambda: all(acknowledged(peer) > len(header) + 100 for peer in peers))
        server.stop()
        release.set()
        assert [answer.result(DEADLINE) for answer in answers] == [frame(b"hello")] * 20


def acknowledged(peer: Peer) -> int:
    """How many bytes the server's kernel has."""
    info = peer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return int.from_bytes(info[120:128], sys.byteorder)  # tcpi_bytes_acked, linux/tcp.h


def test_a_peer_that_does_not_go_on_with_its_handshake_delays_a_stop_for_a_second_at_most(
    engine: Engine, files: Files
) -> None:
    settings = {"tls_cert": files.cert, "tls_key": files.key, "tls_timeout": 2 * DEADLINE}
    with engine.server(Recorder(), **settings) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"\x16\x03\x01\x02")
        loop: Any = server._started
        until(lambda: any(loop.source_of(each.fd).received_any for each in loop.newcomers()))
        server.stop()
        assert all_or_nothing(peer) == b""
    assert server.counters.closed[CloseReason.SHUTDOWN] == 1


def all_or_nothing(peer: Peer) -> bytes:
    """All that ``peer`` was sent; nothing if it was reset."""
    try:
        return peer.receive_all()
    except ConnectionError:
        return b""


def test_a_stop_leaves_the_unix_socket_of_a_successor(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with engine.server(Recorder(), bind=f"unix:{path}"):
        path.rename(tmp_path / "old")
        successor = engine.server(Recorder(), bind=f"unix:{path}")
        successor.start()
    with successor:
        assert path.is_socket()
        with Peer(f"unix:{path}") as peer:
            assert peer.ask(b"hello") == b"hello"


def test_a_stop_removes_its_own_unix_socket_after_a_change_of_directory(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.chdir(first)
    with (
        engine.server(Recorder(), bind=f"unix:{second / 'socket'}"),
        engine.server(Recorder(), bind="unix:socket") as server,
    ):
        monkeypatch.chdir(second)
        server.stop()
        until(lambda: not server.connections and server._loop is None)
        assert (second / "socket").is_socket()
        assert not (first / "socket").exists()


def test_a_stop_does_not_wait_for_a_stranger_who_has_locked_the_directory(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_files, "_LOCK_PERIOD", None)  # to sleep would be an error
    path = tmp_path / "socket"
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with engine.server(Recorder(), bind=f"unix:{path}"), Peer(f"unix:{path}") as peer:
            assert peer.ask(b"hello") == b"hello"
            fcntl.flock(folder, fcntl.LOCK_EX)
    finally:
        os.close(folder)
    assert not path.exists()


@pytest.mark.parametrize("raised", [ValueError, StopOverdue], ids=str)
def test_a_stop_drains_its_connections_though_a_listener_is_not_closed_in_order(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: type[BaseException],
    log: Log,
) -> None:
    def fail(self: SocketFile) -> None:
        raise raised

    handler = Recorder()
    binds = [f"unix:{tmp_path / 'socket'}", "127.0.0.1:0"]
    server = engine.server(handler, bind=binds, graceful_timeout=DEADLINE)
    with monkeypatch.context() as patched, server, Peer(server.addresses[1]) as peer:
        assert peer.ask(b"hello") == b"hello"
        patched.setattr(SocketFile, "remove", fail)
        server.stop()
        assert peer.receive_all() == b""
        assert handler.end() is CloseReason.SHUTDOWN
        for where in server.addresses:
            with pytest.raises(ConnectionRefusedError):
                Peer(where)
    assert any("a callback of the loop raised" in line for line in log.take())


def test_a_reserve_that_is_descriptor_0_is_closed_with_its_acceptor(engine: Engine) -> None:
    loop = engine.loop()
    bound = address.parse("127.0.0.1:0")
    listener = address.listen(bound, 1)
    limiter = ConnectionLimiter(Counters())
    stdin = os.dup(0)
    os.close(0)
    try:
        Acceptor(loop, listener, bound, Attacher(loop, Echo(), limiter)).close()
        is_open = os.path.exists("/proc/self/fd/0")  # noqa: PTH110
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
        loop.close()
    assert not is_open


class Echo:
    """A protocol that is never asked."""

    framing = parse("u32")
    limits = Limits()

    def received(self, message: bytes, connection: Connection) -> bytes:
        return message

    def connected(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection, reason: CloseReason) -> None: ...
