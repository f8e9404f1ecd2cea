"""What may fail at the wrong moment: each system call, each wait of a task, a signal handler."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import epollo
from epollo import AsyncClient, AsyncPool, Backoff, Pool
from epollo.client.blocking.deadline import Deadline
from epollo.client.blocking.transport import SyncTransport
from tests.certificates import server_context, trusting
from tests.client import support
from tests.client.support import Act, encrypted, last_word, peer_that
from tests.other_loops import Run
from tests.support import DEADLINE, frame

CALLS = ["connect", "setsockopt", "getpeername", "getsockname", "send", "recv", "shutdown"]
ERRORS = [errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ENOBUFS, errno.ENOTCONN]
NO_WAIT = Backoff(first=0.001, most=0.001)


def serving(sock: socket.socket) -> None:
    """Echo until the stream ends or breaks."""
    try:
        support.echo(sock)
    except OSError:
        pass


@contextmanager
def failing(name: str, at: int, error: int) -> Iterator[Callable[[], int]]:
    """The call of that number, by this thread, of the socket method ``name`` fails with
    ``error``; yields a function that counts the calls."""
    thread, calls = threading.current_thread(), 0
    original = getattr(socket.socket, name)

    def call(sock: socket.socket, *arguments: Any) -> Any:
        nonlocal calls
        if threading.current_thread() is thread:
            calls += 1
            if calls == at:
                if name == "send":  # such an error is the end of the incoming stream too
                    sock.shutdown(socket.SHUT_RDWR)
                raise OSError(error, os.strerror(error))
        return original(sock, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, name, call, raising=False)
        yield lambda: calls


def use(where: str, tls: Any) -> None:
    with epollo.connect(where, tls=tls, reconnect=NO_WAIT, timeout=DEADLINE) as client:
        assert client.request(b"1", idempotent=True) == b"1"
        assert list(client.requests([b"2", b"3"])) == [b"2", b"3"]
        client.send(b"4")
        assert client.receive() == b"4"
        if not tls:
            client.end()


async def use_async(where: str, tls: Any) -> None:
    async with AsyncClient(where, tls=tls, reconnect=NO_WAIT, timeout=DEADLINE) as client:
        assert await client.request(b"1", idempotent=True) == b"1"
        assert [each async for each in client.requests([b"2", b"3"])] == [b"2", b"3"]
        await client.send(b"4")
        assert await client.receive() == b"4"
        if not tls:
            await client.end()


@contextmanager
def many_of(act: Act) -> Iterator[str]:
    """The address of a peer that does ``act`` on any number of connections, in threads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def serve(sock: socket.socket) -> None:
            with sock:
                sock.settimeout(DEADLINE)
                act(sock)

        def accept() -> None:
            while True:
                try:
                    sock = listener.accept()[0]
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=[sock]))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize(
    ("name", "secure"),
    [(name, False) for name in CALLS]
    # A getpeername(2) that fails once only leaves the descriptor of CPython's SSLSocket open.
    + [(name, True) for name in CALLS if name != "getpeername"],
)
def test_any_system_call_of_a_client_may_fail(name: str, secure: bool) -> None:
    outcomes: Counter[str] = Counter()
    texts: list[str] = []
    with many_of(encrypted(serving) if secure else serving) as where:
        for number, error in enumerate(ERRORS):
            at = 1 + number % 3
            error = errno.ENOTCONN if name == "getpeername" else error
            with failing(name, at, error) as calls:
                try:
                    use(where, trusting() if secure else None)
                    outcomes["fine"] += 1
                except epollo.EpolloError as failure:
                    outcomes[type(failure).__name__] += 1
                    texts.append(str(failure))
            assert calls() or name == "shutdown" or secure  # OpenSSL sends and receives itself
    assert sum(outcomes.values()) == len(ERRORS)
    assert "\n" not in "".join(texts)


@pytest.mark.parametrize(
    ("name", "secure"),
    [(name, False) for name in CALLS]
    # A getpeername(2) that fails once only leaves the descriptor of CPython's SSLSocket open.
    + [(name, True) for name in CALLS if name != "getpeername"],
)
def test_any_system_call_of_an_async_client_may_fail(run: Run, name: str, secure: bool) -> None:
    async def test() -> None:
        for number, error in enumerate(ERRORS):
            at = 1 + number % 3
            error = errno.ENOTCONN if name == "getpeername" else error
            with failing(name, at, error):
                try:
                    await use_async(where, trusting() if secure else None)
                except epollo.EpolloError as failure:
                    texts.append(str(failure))

    texts: list[str] = []
    with many_of(encrypted(serving) if secure else serving) as where:
        run(test())
    assert "\n" not in "".join(texts)


# A task that is cancelled.


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_task_may_be_cancelled_at_each_of_its_waits(run: Run, secure: bool) -> None:
    """Afterwards the client still works, and each request gets its own reply."""
    tls = trusting() if secure else None

    async def cancelled_after(task: asyncio.Task[None], turns: int) -> bool:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        return outcome is None

    async def test() -> None:
        for turns in range(40):
            await cancelled_after(asyncio.create_task(use_async(where, tls)), turns)
        async with AsyncClient(where, tls=tls, reconnect=NO_WAIT, timeout=DEADLINE) as client:

            async def ask(number: int) -> None:
                reply = await client.request(b"%d" % number, idempotent=True)
                assert reply == b"%d" % number

            for turns in range(20):
                await cancelled_after(asyncio.create_task(ask(turns)), turns)
                await ask(100 + turns)
                if turns % 5 == 4:  # also while it reconnects
                    assert client._connection is not None
                    client._connection.abort("by the test")
        async with AsyncPool(where, tls=tls, timeout=DEADLINE) as pool:

            async def ask_pool(number: int) -> None:
                assert await pool.request(b"%d" % number) == b"%d" % number

            for turns in range(20):
                await cancelled_after(asyncio.create_task(ask_pool(turns)), turns)
                await ask_pool(100 + turns)

    with many_of(encrypted(serving) if secure else serving) as where:
        run(test())


@pytest.mark.parametrize("matched", [False, True], ids=["in order", "matched"])
def test_an_asked_question_that_is_cancelled_takes_no_other_s_reply(
    run: Run, matched: bool
) -> None:
    async def test() -> None:
        match = "bytes(0,3)" if matched else None
        async with AsyncClient(where, match=match, timeout=DEADLINE) as client:
            for number in range(100, 170):
                task = asyncio.create_task(client.request(b"%d" % number))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                task.cancel()
                assert await client.request(b"%d" % -number) == b"%d" % -number

    with many_of(serving) as where:
        run(test())


# A signal handler that raises.


class Late(Exception):
    """Raised by a signal handler."""


@contextmanager
def interrupted_at(number: int) -> Iterator[None]:
    """Raise Late when the function call of that number returns from C: there Python may call a
    signal handler."""
    left = number

    def profile(frame: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event == "c_return" and "epollo/client" in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                raise Late

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("matched", [False, True], ids=["in order", "matched"])
def test_an_interrupted_request_never_mixes_up_replies(matched: bool) -> None:
    """It is interrupted after each call that a request makes."""
    settings: dict[str, Any] = {"match": "bytes(0,3)"} if matched else {}
    with many_of(serving) as where:
        for number in range(1, 60):
            with epollo.connect(where, timeout=DEADLINE, **settings) as client:
                try:
                    with interrupted_at(number):
                        client.request(b"001")
                except (Late, epollo.ConnectionClosed):  # in the getter: it is taken for its error
                    pass
                try:
                    assert client.request(b"002") == b"002"
                    assert client.request(b"003") == b"003"
                except epollo.ConnectionClosed:
                    assert not client.live


# A socket that the interruption took away before it was stored is closed by the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_pool_mixes_up_no_replies_and_its_close_is_bounded() -> None:
    with many_of(serving) as where:
        for number in range(1, 100, 3):
            with Pool(where, connections=1, timeout=DEADLINE) as pool:
                pool.request(b"000")
                try:
                    with interrupted_at(number):
                        pool.request(b"001")
                except Late:
                    pass
                if sum(each.busy for each in pool._upstreams) == 0:
                    assert pool.request(b"002") == b"002"
                pool.timeout = 0.1


def test_an_interrupted_read_of_the_loop_ends_the_connection_and_says_so() -> None:
    told: list[dict[str, Any]] = []

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called.__name__ == "recv" and "transport" in str(frame):
            sys.setprofile(None)
            raise Late

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with AsyncClient(where, timeout=DEADLINE) as client:
            sys.setprofile(profile)
            with pytest.raises(epollo.ConnectionClosed, match="interrupted, and bytes were lost"):
                await client.request(b"1")

    with many_of(serving) as where:
        asyncio.run(test())
    assert isinstance(told[0]["exception"], Late)


# What a server said last.


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_last_message_of_a_server_is_the_reply_though_sending_failed(
    run: Run, secure: bool
) -> None:
    """As of a server that refuses a message before it has read all of it."""
    large = bytes(8 << 20)  # more than the kernel takes

    def refuses(sock: socket.socket) -> None:
        if secure:
            sock = server_context().wrap_socket(sock, server_side=True)
        with sock:
            sock.recv(1000)
            sock.sendall(frame(b"refused"))

    settings: dict[str, Any] = {"max_frame": 16 << 20, "timeout": DEADLINE}
    settings["tls"] = trusting() if secure else None

    async def test() -> None:
        with peer_that(refuses) as where:
            async with AsyncClient(where, **settings) as client:
                assert await client.request(large) == b"refused"

    with peer_that(refuses) as where, epollo.connect(where, **settings) as client:
        assert client.request(large) == b"refused"
    run(test())


def test_a_reset_at_the_close_loses_nothing_that_was_answered(run: Run) -> None:
    closing = threading.Event()

    def refuses(sock: socket.socket) -> None:
        with sock:
            sock.recv(1000)
            sock.sendall(frame(b"refused"))
            assert closing.wait(DEADLINE)  # then it resets the connection, as much is unread

    async def test() -> None:
        with peer_that(refuses) as where:
            client = await AsyncClient.connect(where, max_frame=16 << 20, timeout=DEADLINE)
            assert await client.request(bytes(8 << 20)) == b"refused"
            asyncio.get_running_loop().call_soon(closing.set)
            await client.close()

    run(test())


@pytest.mark.parametrize("match", [None, "bytes(0,1)"], ids=["in order", "matched"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_reply_is_returned_though_the_rest_of_its_request_cannot_be_sent(
    monkeypatch: pytest.MonkeyPatch, secure: bool, match: str | None
) -> None:
    sending_the_rest = threading.Event()
    send = SyncTransport.send

    def observed(transport: SyncTransport, data: bytes, deadline: Deadline) -> None:
        sending_the_rest.set()
        send(transport, data, deadline)

    def refuses(sock: socket.socket) -> None:
        if secure:
            sock = server_context().wrap_socket(sock, server_side=True)
        with sock:
            sock.recv(1000)
            sock.sendall(frame(b"\0 refused"))
            assert sending_the_rest.wait(DEADLINE)

    monkeypatch.setattr(SyncTransport, "send", observed)
    tls = trusting() if secure else None
    with (
        peer_that(refuses) as where,
        epollo.connect(where, tls=tls, match=match, max_frame=32 << 20, timeout=DEADLINE) as client,
    ):
        assert client.request(bytes(16 << 20)) == b"\0 refused"
        assert not client.live
        with pytest.raises(epollo.ConnectionClosed):
            client.request(b"\0")


def test_the_last_message_over_tls_is_received_on_asyncio(run: Run) -> None:
    said = threading.Event()

    async def test() -> None:
        with peer_that(last_word(said, secure=True)) as where:
            async with AsyncClient(where, tls=trusting(), timeout=DEADLINE) as client:
                await client.send(b"hello")
                await asyncio.sleep(0)
                assert said.wait(DEADLINE)
                with contextlib.suppress(epollo.ConnectionClosed):
                    for _ in range(9):
                        await client.send(bytes(64 << 10))
                assert await client.receive() == b"last word"

    run(test())


def test_a_failed_half_close_loses_nothing() -> None:
    said = threading.Event()
    with peer_that(last_word(said)) as where, epollo.connect(where) as client:
        client.send(b"hello")
        assert said.wait(DEADLINE)
        with failing("shutdown", 1, errno.ENOTCONN), pytest.raises(epollo.ConnectionClosed):
            client.end()
        assert client.receive() == b"last word"


# A peer that has vanished.

VANISH = """
import asyncio, subprocess, sys, threading
import epollo

def vanish():
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)

def blocking(where):
    with epollo.connect(where, timeout=None, keepalive=0.5) as client:
        assert client.request(b"hello") == b"hello"
        vanish()
        client.send(b"never acknowledged")
        client.receive()

async def on_asyncio(where):
    async with epollo.AsyncClient(where, timeout=None, keepalive=0.5) as client:
        assert await client.request(b"hello") == b"hello"
        vanish()
        await client.request(b"never acknowledged")

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = epollo.Server(bind="127.0.0.1:0")
server.__enter__()
try:
    if sys.argv[1] == "blocking":
        blocking(server.addresses[0])
    else:
        asyncio.run(on_asyncio(server.addresses[0]))
except epollo.ConnectionClosed as error:
    print(error)
import os
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("client", ["blocking", "asyncio"])
def test_a_server_that_vanishes_ends_a_call_without_a_timeout(client: str) -> None:
    isolated = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*isolated, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody have a network of his own")
    command = [*isolated, sys.executable, "-c", VANISH, client]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=2 * DEADLINE, check=False
    )
    assert "is broken: connection timed out" in done.stdout, done.stderr
