"""The server: listening, serving, stopping."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

import epollo
from epollo import BindError, CloseReason, Connection, Server, address
from epollo.errors import EngineMissing, FramingSpecError
from epollo.framing import Fixed, Framing, Line
from tests.engines import Engine, every_poller
from tests.logs import Log
from tests.support import (
    DEADLINE,
    Peer,
    Recorder,
    ServerProcess,
    frame,
    has_ipv6,
    in_a_fork,
    serving,
)


@every_poller
def test_the_ready_line_has_the_address_really_bound(engine: Engine) -> None:
    with serving(*engine.flags, "--framing", "line") as server:
        how = f"({engine.name} engine, {engine.poller}, framing line, 1 worker)"
        assert server.ready_line == f"epollo: serving echo on {server.address} {how}\n"
        assert server.address != "127.0.0.1:0"
        with Peer(server.address) as peer:
            peer.send(b"hello\n")
            assert peer.receive(6) == b"hello\n"


def test_a_framing_of_the_users_own(engine: Engine) -> None:
    class Own(Line):
        """A framing that no name names."""

    own = Own("own", max_frame=5)
    with engine.server(bytes.upper, framing=own) as server:
        assert ", framing own, " in server.ready_line
        with epollo.connect(server.addresses[0], framing=own) as client:
            assert client.request(b"hello") == b"HELLO"
        with Peer(server.addresses[0]) as peer:
            peer.send(b"a\ntoo much")
            assert peer.receive_all() == b"A\n"


def test_a_class_is_made_for_the_server_and_for_the_client(engine: Engine) -> None:
    class Own(Line):
        """A framing that no name names."""

    with engine.server(bytes.upper, framing=Own, max_frame=5) as server:
        assert ", framing Own, " in server.ready_line
        with epollo.connect(server.addresses[0], framing=Own) as client:
            assert client.request(b"hello") == b"HELLO"
            client.send(b"too much")
            assert list(client) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (int, "unknown framing <class 'int'>: neither a name such as 'u32' nor a Framing"),
        (Framing, "framing class 'Framing' has no decoder, encode; define it"),
        (Fixed, "framing class 'Fixed' is not made by .* name an object of it instead"),
    ],
)
def test_a_class_that_makes_no_framing_is_refused(given: Any, text: str) -> None:
    with pytest.raises(FramingSpecError, match=text):
        Server(bytes.upper, framing=given)
    with pytest.raises(FramingSpecError, match=text):
        epollo.connect("127.0.0.1:1", framing=given)


def test_several_addresses_of_several_kinds(engine: Engine, tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/socket"
    binds = ["127.0.0.1:0", path] + (["[::1]:0"] if has_ipv6() else [])
    with engine.server(Recorder(), bind=binds) as server:
        assert len(server.addresses) == len(binds)
        for where in server.addresses:
            with Peer(where) as peer:
                assert peer.ask(b"hello") == b"hello"


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_a_socket_of_both_families_shows_an_ipv4_peer_by_its_ipv4_name(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler, bind="[::]:0") as server:
        port = server.addresses[0].removeprefix("[::]:")
        for host in ("127.0.0.1", "[::1]"):
            with Peer(f"{host}:{port}") as peer:
                assert peer.ask(b"hello") == b"hello"
                connection = handler.connection()
                assert connection.peername == str(address.of(peer.socket.getsockname()))
                assert connection.sockname == f"{host}:{port}"


def test_a_unix_socket_has_the_mode_that_is_set(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with engine.server(Recorder(), bind=f"unix:{path}", socket_mode="660"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_an_abstract_socket_is_served(engine: Engine) -> None:
    name = f"unix:@epollo-test-{os.getpid()}"
    with engine.server(Recorder(), bind=name) as server:
        assert server.addresses == [name]
        with Peer(name) as peer:
            assert peer.ask(b"hello") == b"hello"


def test_connected_and_disconnected_come_once_each(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server:
        with Peer(server.addresses[0]) as peer:
            connection = handler.connection()
            assert connection.peername == str(address.of(peer.socket.getsockname()))
            assert connection.sockname == server.addresses[0]
        assert handler.end() is CloseReason.EOF
    assert handler.opened.empty()
    assert handler.ends.empty()


@pytest.mark.parametrize(
    ("stream", "framing", "reason"),
    [
        (b"", "u32", CloseReason.EOF),
        (frame(b"whole"), "u32", CloseReason.EOF),
        (frame(b"cut")[:-1], "u32", CloseReason.TRUNCATED),
        (b"\xff" * 4, "u32", CloseReason.FRAME_TOO_LARGE),
        (b"\xff" * 8, "u64", CloseReason.BAD_FRAME),
        (b"5:whole,", "netstring", CloseReason.EOF),
        (b"5:whole.", "netstring", CloseReason.BAD_FRAME),
        (b"5:who", "netstring", CloseReason.TRUNCATED),
        (b"\xff" * 4 + b"\x01", "protobuf", CloseReason.FRAME_TOO_LARGE),
        (b"GET / HTTP/1.1\r\n\r\n", "u32", CloseReason.FRAME_TOO_LARGE),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "u32", CloseReason.FRAME_TOO_LARGE),
    ],
)
def test_the_reason_of_a_close(
    engine: Engine, stream: bytes, framing: str, reason: CloseReason
) -> None:
    handler = Recorder()
    with engine.server(handler, framing=framing) as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(stream)
            peer.end()
            peer.receive_all()
        assert handler.end() is reason


def test_stop_answers_what_has_arrived(engine: Engine) -> None:
    """What is in flight when the stop comes is answered; the handler itself asks for the stop,
    so that a known number of requests is behind it."""
    handler = Recorder()
    server = engine.server(handler)
    requests = b"".join(frame(b"%d" % number) for number in range(1000))
    with server, Peer(server.addresses[0]) as peer:
        peer.send(requests)
        handler.message()
        server.stop()
        assert peer.receive_all() == requests
    assert handler.end() in (CloseReason.SHUTDOWN, CloseReason.EOF)


def test_stop_aborts_what_is_left_when_the_grace_is_over(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0], 4096) as peer:
        peer.socket.setblocking(False)
        connection = handler.connection()
        while not connection.unsent:  # never reads: its replies cannot be sent
            try:
                peer.socket.send(frame(bytes(1000)) * 100)
            except BlockingIOError:
                pass
        server.stop(grace=0.05)
        assert handler.end() is CloseReason.SHUTDOWN


def test_leaving_the_block_does_not_abort_what_was_told_to_finish(engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(message: bytes) -> bytes:
        begun.set()
        assert release.wait(DEADLINE)
        return message

    with engine.server(slow, threads=1) as server:
        peer = Peer(server.addresses[0])
        peer.send(frame(b"hello"))
        assert begun.wait(DEADLINE)
        server.stop()
        threading.Timer(0.05, release.set).start()  # when this thread has left the block
    with peer:
        assert peer.receive_all() == frame(b"hello")


def test_a_stopped_server_refuses(engine: Engine) -> None:
    with engine.server(Recorder()) as server:
        pass
    with pytest.raises(epollo.ConnectError, match="connection refused"):
        epollo.connect(server.addresses[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_with_0(engine: Engine, number: signal.Signals) -> None:
    with serving(*engine.flags) as server, Peer(server.address) as peer:
        assert peer.ask(b"hello") == b"hello"
        server.signal(number)
        assert peer.receive_all() == b""
        assert server.wait() == 0


def test_a_second_signal_forces(engine: Engine) -> None:
    with serving(*engine.flags) as server, Peer(server.address, 4096) as peer:
        peer.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):  # never reads, so a drain would take its 30 seconds
            peer.send(frame(bytes(1000)) * 100_000)
        server.signal(signal.SIGTERM)
        _wait_for_refusal(server)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def _wait_for_refusal(server: ServerProcess) -> None:
    """Until the first signal is seen to have worked."""
    while True:
        try:
            Peer(server.address).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # was in the accept queue when the listener closed
            pass


def test_the_server_can_be_run_in_this_thread_and_stopped_from_another(engine: Engine) -> None:
    server = engine.server(Recorder())
    server.start()

    def visit() -> None:
        with Peer(server.addresses[0]) as peer:
            peer.ask(b"hello")
        server.stop()

    visitor = threading.Thread(target=visit)
    visitor.start()
    before = signal.getsignal(signal.SIGTERM)
    server.run()
    visitor.join()
    assert signal.getsignal(signal.SIGTERM) is before
    server.stop()  # once stopped, that does nothing


def test_ten_thousand_signals_lose_nothing(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "def handle(message): return message\n"
    )
    with serving("app:handle", *engine.flags, cwd=tmp_path) as server, Peer(server.address) as peer:
        for number in range(1000):
            for _ in range(10):
                server.signal(signal.SIGUSR1)
            assert peer.ask(b"%d" % number) == b"%d" % number


def test_a_port_taken_is_a_bind_error_and_leaves_nothing_open(engine: Engine) -> None:
    with engine.server(Recorder()) as first:
        second = engine.server(Recorder(), bind=["127.0.0.1:0", first.addresses[0]])
        with pytest.raises(BindError, match=f"cannot listen on {first.addresses[0]}"):
            second.start()


def test_out_of_descriptors_peers_are_told_and_the_others_served(engine: Engine) -> None:
    begun = time.monotonic()
    with serving(*engine.flags) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        peers = [Peer(server.address) for _ in range(60)]
        served = [peer for peer in peers if _is_served(peer)]
        assert 0 < len(served) < 40
        for peer in served[:10]:
            peer.close()
        peers += [_take_place(server.address) for _ in range(10)]
        for peer in peers:
            peer.close()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "no descriptors left; raise ulimit -n" in server.log[0]
        seconds = time.monotonic() - begun
        assert len(server.log) <= 1 + seconds, "one line a second, not one a connection"


def _is_served(peer: Peer) -> bool:
    """Does the peer get a reply? One that is refused sees the end of the stream, or a reset."""
    try:
        peer.send(frame(b"hello"))
        return peer.receive(9) == frame(b"hello")
    except ConnectionError:
        return False


def _take_place(where: str) -> Peer:
    """Connect until served: a place is free as soon as the server has seen somebody leave."""
    while not _is_served(peer := Peer(where)):
        peer.close()
    return peer


def test_select_refuses_in_one_line_whom_it_cannot_watch(tmp_path: Path) -> None:
    with serving("--poller", "select") as server:
        peers = [Peer(server.address) for _ in range(1100)]
        served = [peer for peer in peers if _is_served(peer)]
        assert 1000 < len(served) < 1024
        for peer in peers:
            peer.close()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "select cannot watch descriptor 1024" in server.log[0]


def test_a_server_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call start\(\) or run\(\) first"):
        _ = Server().ready_line


class Counter:
    """Keeps the user's state on the connection."""

    def connected(self, connection: Connection) -> None:
        connection.state = 0

    def received(self, message: bytes, connection: Connection) -> Any:
        connection.state += 1
        return b"%d" % connection.state


def test_a_connection_carries_the_users_state(engine: Engine) -> None:
    with engine.server(Counter()) as server:
        for _ in range(2):
            with Peer(server.addresses[0]) as peer:
                assert [peer.ask(b"") for _ in range(3)] == [b"1", b"2", b"3"]


def test_a_peer_reset_in_the_accept_queue_is_never_heard_of(engine: Engine) -> None:
    handler = Recorder()
    server = engine.server(handler)
    server.start()
    Peer(server.addresses[0]).reset()
    with server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
    assert handler.end() in (CloseReason.EOF, CloseReason.SHUTDOWN)
    assert handler.ends.empty()


def test_a_server_can_be_used_again(engine: Engine) -> None:
    server = engine.server(Recorder())
    for _ in range(2):
        with server, Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
            assert len(server.addresses) == 1


def test_a_server_started_and_not_run_can_be_closed(engine: Engine) -> None:
    server = engine.server(Recorder())
    server.start()
    with pytest.raises(RuntimeError, match="started already"):
        server.start()
    server.close()
    with pytest.raises(epollo.ConnectError):
        epollo.connect(server.addresses[0])


def test_a_unix_socket_is_removed_with_its_server(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with engine.server(Recorder(), bind=f"unix:{path}"):
        assert path.is_socket()
    assert not path.exists()


def test_a_path_that_cannot_be_removed_does_not_keep_the_server(
    engine: Engine, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "sock"
    with engine.server(Recorder(), bind=f"unix:{path}"):
        monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.undo()
    assert [line.partition(": ")[0] for line in log.take()] == [f"unix:{path} is left behind"]


def test_whatever_has_taken_the_place_of_the_socket_file_is_left_there(
    engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "sock"
    with engine.server(Recorder(), bind=f"unix:{path}"):
        path.unlink()
        path.mkdir()
    assert path.is_dir()


def test_a_signal_wakes_the_loop_even_when_it_comes_just_before_the_wait(engine: Engine) -> None:
    """Python only notes a signal; its wake-up descriptor is what makes the poller return."""
    server = engine.server(Recorder())
    server.start()
    loop = server._started
    before, during = signal.set_wakeup_fd(-1), []

    def look() -> None:
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        during.append(fd)
        server.stop()

    loop.call_threadsafe(look)
    wakeup_fd = loop.wakeup_fd
    server.run()
    assert during == [wakeup_fd]
    assert signal.set_wakeup_fd(before) == before


def test_a_forked_process_that_closes_the_server_takes_nothing_from_the_first(
    engine: Engine, tmp_path: Path
) -> None:
    server = engine.server(Recorder(), bind=["127.0.0.1:0", f"unix:{tmp_path / 'socket'}"])
    server.start()
    in_a_fork(server.close)
    with server:
        for where in server.addresses:
            with Peer(where) as peer:
                assert peer.ask(b"still there") == b"still there"


def _refused(where: str) -> None:
    """Until nobody listens there any more."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            Peer(where).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # in the queue of a listener that was just closed
            pass
    raise AssertionError(f"{where} still listens")


WAITING = """
import asyncio, time

async def waits(message, connection):
    print("begun", flush=True)
    try:
        await asyncio.sleep(3600 if message == b"for ever" else 0.05)
    finally:
        print("ended", flush=True)
    return message

def blocks(message, connection):
    print("begun", flush=True)
    time.sleep(0.05)
    return message
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "waiting_app.py").write_text(WAITING)
    return tmp_path


@pytest.mark.parametrize(
    "flags",
    [
        ("waiting_app:waits", "--loop", "asyncio"),
        ("waiting_app:waits", "--loop", "uvloop"),
        ("waiting_app:blocks", "--threads", "2"),
    ],
)
def test_a_signal_lets_handlers_that_wait_end(app: Path, flags: tuple[str, ...]) -> None:
    if "uvloop" in flags:
        pytest.importorskip("uvloop")
    with serving(*flags, cwd=app) as server, Peer(server.address) as peer:
        peer.send(frame(b"hello"))
        assert server.line() == "begun\n"
        server.signal(signal.SIGTERM)
        assert peer.receive_all() == frame(b"hello")
        assert server.wait() == 0


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_a_second_signal_cancels_them(app: Path, loop_name: str) -> None:
    pytest.importorskip(loop_name)
    with serving("waiting_app:waits", "--loop", loop_name, cwd=app) as server:
        with Peer(server.address) as peer:
            peer.send(frame(b"for ever"))
            assert server.line() == "begun\n"
            server.signal(signal.SIGTERM)
            _refused(server.address)  # so it has been heard
            server.signal(signal.SIGINT)
            assert peer.receive_all() == b""
            assert server.wait() == 0
        assert server.line() == "ended\n"


STOPPING = """
import os, pathlib, signal

class Handler:
    async def received(self, message):
        return message

    async def stopped(self, server):
        files = [open(f"{number}.data", "wb", buffering=0) for number in range(8)]
        os.kill(os.getpid(), signal.SIGTERM)
        print(sum(os.path.getsize(file.name) for file in files), flush=True)
"""


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_a_signal_that_comes_late_writes_to_nobody_elses_descriptor(
    tmp_path: Path, loop_name: str
) -> None:
    """The byte that wakes the loop goes to its descriptor, whose number a file may have by then."""
    pytest.importorskip(loop_name)
    (tmp_path / "stopping_app.py").write_text(STOPPING)
    with serving("stopping_app:Handler", "--loop", loop_name, cwd=tmp_path) as server:
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.line() == "0\n"


def test_started_and_stopped_are_told_of_the_server(engine: Engine) -> None:
    class Handler(Recorder):
        told: ClassVar[list[tuple[str, list[str]]]] = []

        def started(self, server: Server) -> None:
            self.told.append(("started", list(server.addresses)))

        def stopped(self, server: Server) -> None:
            self.told.append(("stopped", list(server.addresses)))

    handler = Handler()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
    assert handler.told == [("started", server.addresses), ("stopped", server.addresses)]


def test_a_server_whose_started_raises_does_not_serve(engine: Engine) -> None:
    class Handler(Recorder):
        def started(self, server: Server) -> None:
            raise ValueError("no database")

    server = engine.server(Handler())
    with pytest.raises(ValueError, match="no database"):
        server.run()
    with pytest.raises(ConnectionRefusedError):
        Peer(server.addresses[0])


@pytest.mark.parametrize("kind", ["plain", "async", "threads"])
def test_a_block_is_entered_once_started_has_run(engine: Engine, kind: str) -> None:
    begun, release, told = threading.Event(), threading.Event(), list[str]()

    class Plain:
        def started(self, server: Server) -> None:
            begun.set()
            assert release.wait(DEADLINE)
            told.append("started")

        def received(self, message: bytes) -> bytes:
            return message

    class Async(Plain):
        async def started(self, server: Server) -> None:  # type: ignore[override]
            await asyncio.to_thread(super().started, server)

    def let_it_go_on() -> None:
        assert begun.wait(DEADLINE)
        told.append("waited for")
        release.set()

    handler = Async() if kind == "async" else Plain()
    helper = threading.Thread(target=let_it_go_on)
    helper.start()
    with engine.server(
        handler,
        threads=2 if kind == "threads" else 0,
        loop="asyncio" if kind == "async" else "auto",
    ):
        assert told == ["waited for", "started"]
    helper.join()


def test_what_started_raises_is_raised_where_the_block_would_begin(engine: Engine) -> None:
    class Failing:
        def started(self, server: Server) -> None:
            raise LookupError("no database")

        def received(self, message: bytes) -> bytes:
            return message

    server = engine.server(Failing())
    with pytest.raises(LookupError, match="no database"), server:
        raise AssertionError("entered")
    server.start()  # nothing of it is left that would be in the way
    server.close()


def test_a_server_whose_poller_is_no_descriptor_for_asyncio_says_so_at_the_block() -> None:
    async def handle(message: bytes) -> bytes:
        return message

    server = Server(handle, "127.0.0.1:0", engine="python", poller="poll", loop="asyncio")
    with pytest.raises(EngineMissing), server:
        raise AssertionError("entered")


def resolve_several(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """``several.example`` is a name that has the addresses ``hosts``, in this order."""
    find = socket.getaddrinfo

    def find_all(host: Any, *arguments: Any, **named: Any) -> Any:
        names = hosts if host == "several.example" else (host,)
        return [found for name in names for found in find(name, *arguments, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", find_all)


@pytest.mark.parametrize(
    "hosts",
    [
        ("127.0.0.1", "127.0.0.2"),
        pytest.param(
            ("::1", "127.0.0.1"),
            marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine"),
        ),
    ],
    ids=str,
)
def test_every_address_of_a_name_is_served(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, str]
) -> None:
    resolve_several(monkeypatch, *hosts)
    with engine.server(Recorder(), bind="several.example:0") as server:
        assert tuple(address.parse(where).host for where in server.addresses) == hosts
        for where in server.addresses:
            with Peer(where) as peer:
                assert peer.ask(b"hello") == b"hello"


def test_an_address_of_a_name_that_cannot_be_bound_hides_no_other(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    resolve_several(monkeypatch, "192.0.2.1", "127.0.0.1")
    with engine.server(Recorder(), bind="several.example:0") as server:
        (where,) = server.addresses
        with Peer(where) as peer:
            assert peer.ask(b"hello") == b"hello"
    log.take()  # it may tell of the other one


async def echo_later(message: bytes) -> bytes:
    return message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_the_error_that_ends_a_server_is_raised_at_the_end_of_its_block(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "async" and engine.poller != "epoll":
        pytest.skip("no descriptor in an asyncio loop")

    def fail(*_: object) -> None:
        raise OSError("the poller failed")

    server = engine.server(
        Recorder() if kind == "plain" else echo_later, loop="asyncio" if kind == "async" else "auto"
    )
    server.start()
    monkeypatch.setattr(server._started, "run" if kind == "plain" else "poll", fail)
    with pytest.raises(OSError, match="the poller failed"), server:
        pass


def test_an_error_of_the_block_is_not_hidden_by_the_one_that_ended_the_server(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    entered, ended = threading.Event(), threading.Event()

    def fail(*_: object) -> None:
        assert entered.wait(DEADLINE)  # an error that comes before is raised by the `with` itself
        ended.set()
        raise OSError("the poller failed")

    server = engine.server(Recorder())
    server.start()
    monkeypatch.setattr(server._started, "run", fail)

    def block() -> None:
        with server:
            entered.set()
            assert ended.wait(DEADLINE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert log.take() == ["an error had ended the server"]


def test_a_server_that_is_running_refuses_to_be_closed(engine: Engine) -> None:
    with engine.server(Recorder()) as server, Peer(server.addresses[0]) as peer:
        with pytest.raises(RuntimeError, match="the server is running; call stop"):
            server.close()
        assert peer.ask(b"hello") == b"hello"


TWICE = """
import asyncio, os, sys, threading
import epollo

def again():
    try:
        if sys.argv[1] == "run":
            server.run()
        elif sys.argv[1] == "serve":
            asyncio.run(server.serve())
        else:
            with server:
                pass
    except (RuntimeError, epollo.EpolloError):
        print("refused", flush=True)

server = epollo.Server(lambda message: message, "127.0.0.1:0")
with server:
    try:
        thread = threading.Thread(target=again, daemon=True)
        thread.start()
        thread.join(30)
        print("running twice" if thread.is_alive() else "running once", flush=True)
        with epollo.connect(server.addresses[0], timeout=30) as client:
            print(client.request(b"still served"), flush=True)
    finally:
        os._exit(0)
"""


@pytest.mark.parametrize("how", ["run", "serve", "with"])
def test_a_server_that_is_running_refuses_to_run_once_more(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, how],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    lines = ["refused", "running once", "b'still served'"]
    assert done.stdout.splitlines() == lines, done.stderr
