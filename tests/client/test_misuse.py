"""What users do wrong with clients, and the extremes of each argument: one line says so."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import epollo
from epollo import AsyncClient, AsyncPool, Client, Pool
from epollo.framing import Buffer, Decoder, Framing
from tests.certificates import trusting
from tests.client.support import SOON, echo, encrypted, peer_that, read, silent
from tests.other_loops import Run
from tests.support import DEADLINE, frame, in_a_fork

HUGE = [2e9, 1e18, 1e300, float("inf"), 10**400]


@pytest.mark.parametrize("timeout", [0, -1, 0.0, float("nan"), -1e300, "5", True, [1]], ids=str)
def test_impossible_timeouts_are_setting_errors(run: Run, timeout: Any) -> None:
    text = "is not a time over 0 s"
    for make in (epollo.connect, AsyncClient, Pool, AsyncPool):
        with pytest.raises(epollo.SettingError, match=text) as caught:
            make("127.0.0.1:1", timeout=timeout)
        assert "\n" not in str(caught.value)

    async def test() -> None:
        with peer_that(echo) as where:
            async with AsyncClient(where) as client:
                for call in (
                    client.request(b"", timeout=timeout),
                    client.send(b"", timeout=timeout),
                    client.receive(timeout=timeout),
                    anext(client.requests([b""], timeout=timeout)),
                ):
                    with pytest.raises(epollo.SettingError, match=text):
                        await call
                assert await client.request(b"fine") == b"fine"

    run(test())
    with peer_that(echo) as where, epollo.connect(where) as client:
        for call in (
            lambda: client.request(b"", timeout=timeout),
            lambda: client.send(b"", timeout=timeout),
            lambda: client.receive(timeout=timeout),
            lambda: client.requests([b""], timeout=timeout),
            lambda: setattr(client, "timeout", timeout),
        ):
            with pytest.raises(epollo.SettingError, match=text):
                call()
        assert client.request(b"fine") == b"fine"


@pytest.mark.parametrize("timeout", HUGE, ids=lambda value: f"{float(min(value, 1e300)):g}")
def test_a_timeout_of_ages_is_no_limit(run: Run, timeout: float) -> None:
    async def test() -> None:
        for act, tls in ((echo, None), (encrypted(echo), trusting())):
            with peer_that(act) as where:
                async with AsyncClient(where, timeout=timeout, tls=tls, reconnect=True) as client:
                    assert await client.request(b"1") == b"1"
                    assert await client.request(b"2", timeout=timeout) == b"2"
        with peer_that(echo) as where:
            async with AsyncPool(where, timeout=timeout) as pool:
                assert await pool.request(b"1") == b"1"

    run(test())
    for act, tls in ((echo, None), (encrypted(echo), trusting())):
        with (
            peer_that(act) as where,
            epollo.connect(where, timeout=timeout, tls=tls, reconnect=True) as client,
        ):
            assert client.request(b"1") == b"1"
            assert list(client.requests([b"2"], timeout=timeout)) == [b"2"]
    with peer_that(echo) as where, Pool(where, timeout=timeout) as pool:
        assert pool.request(b"1") == b"1"


def test_the_shortest_timeouts_are_kept(run: Run) -> None:
    async def test() -> None:
        with peer_that(silent) as where:
            async with AsyncClient(where) as client:
                with pytest.raises(epollo.ClientTimeout):
                    await client.receive(timeout=5e-324)

    run(test())
    with (
        peer_that(silent) as where,
        epollo.connect(where) as client,
        pytest.raises(epollo.ClientTimeout),
    ):
        client.receive(timeout=5e-324)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"to": None}, "bad address None: write it as text"),
        ({"to": b"127.0.0.1:1"}, "bad address b'127.0.0.1:1': write it as text"),
        ({"to": ("127.0.0.1", 1)}, "write it as text"),
        ({"to": ""}, "bad address ''"),
        ({"to": "127.0.0.1:65536"}, "port '65536' is not 0 to 65535"),
        ({"to": "[::1"}, "bad address"),
        ({"to": "unix:" + "x" * 108}, "at most 107 bytes"),
        ({"max_frame": True}, "max_frame: True is not a number of bytes"),
        ({"max_frame": 1e6}, r"max_frame: 1000000\.0 is not a number of bytes"),
        ({"framing": 7}, "unknown framing 7"),
        ({"framing": None}, "unknown framing None"),
        ({"keepalive": -1}, "keepalive: -1 is not a time of 0 s or more"),
        ({"keepalive": float("nan")}, "keepalive: nan"),
        ({"keepalive": "60s"}, "keepalive: '60s'"),
        ({"reconnect": 3}, "reconnect: 3 is neither True nor a Backoff"),
        ({"server_hostname": 3, "tls": True}, "server_hostname: 3 is not a host name"),
    ],
    ids=str,
)
def test_impossible_arguments_are_usage_errors(arguments: dict[str, Any], text: str) -> None:
    for make in (epollo.connect, AsyncClient):
        with pytest.raises(epollo.UsageError, match=text) as caught:
            make(**{"to": "127.0.0.1:1"} | arguments)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("max_frame", [0, -1, 1, 2**31, 2**63, 2**70], ids=str)
def test_each_max_frame_is_refused_or_works(max_frame: int) -> None:
    texts: list[str] = []
    for make in (epollo.connect, AsyncClient):
        with peer_that(echo) as where:
            try:
                client = make(where, max_frame=max_frame)
            except epollo.UsageError as error:
                texts.append(str(error))
                socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2]))).close()
                continue
            if isinstance(client, Client):
                with client:
                    try:
                        assert client.request(b"hello") == b"hello"
                    except epollo.EncodeError:
                        assert max_frame < 9
            else:
                socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2]))).close()
    assert "\n" not in "".join(texts)


def test_the_keepalive_s_extremes(run: Run) -> None:
    async def test(keepalive: float) -> None:
        with peer_that(echo) as where:
            async with AsyncClient(where, keepalive=keepalive) as client:
                assert await client.request(b"1") == b"1"

    for keepalive in (0, 1e-9, 1, 1e300, float("inf")):
        with peer_that(echo) as where, epollo.connect(where, keepalive=keepalive) as client:
            assert client.request(b"1") == b"1"
        run(test(keepalive))


@pytest.mark.parametrize("window", [0, -1, 1.5, True, "64", None], ids=str)
def test_impossible_windows_are_usage_errors(run: Run, window: Any) -> None:
    async def test() -> None:
        with peer_that(echo) as where:
            async with AsyncClient(where) as client:
                with pytest.raises(epollo.UsageError, match="window="):
                    await anext(client.requests([b""], window))

    run(test())
    with (
        peer_that(echo) as where,
        epollo.connect(where) as client,
        pytest.raises(epollo.UsageError, match="window="),
    ):
        client.requests([b""], window)


# Threads, loops and processes.


def test_a_second_thread_is_refused_while_the_first_is_in_a_call() -> None:
    raised: list[BaseException] = []
    with peer_that(silent) as where, epollo.connect(where, timeout=DEADLINE) as client:

        def receive() -> None:
            try:
                client.receive()
            except epollo.ConnectionClosed as error:
                raised.append(error)

        thread = threading.Thread(target=receive)
        thread.start()
        while True:  # until the other thread is in its call
            try:
                client.receive(timeout=0.001)
            except epollo.ClientTimeout:
                continue
            except epollo.UsageError:
                break
        for call in (lambda: client.request(b""), lambda: client.send(b""), client.end):
            with pytest.raises(epollo.UsageError, match="by another thread; give each thread its"):
                call()
        client.close()  # this may be called in any thread, and wakes the other one
        thread.join()
        assert len(raised) == 1
        assert "closed here" in str(raised[0])


def test_a_close_in_another_thread_ends_reconnecting() -> None:
    raised: list[BaseException] = []
    waiting = threading.Event()
    with peer_that(lambda _: None) as where:
        client = epollo.connect(
            where, reconnect=epollo.Backoff(first=0.01, most=0.01, jitter=0), timeout=DEADLINE
        )

    def ask() -> None:
        waiting.set()
        try:
            client.request(b"")
        except epollo.EpolloError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(DEADLINE)
    client.close()
    thread.join()
    assert isinstance(raised[0], epollo.ConnectionClosed | epollo.ConnectError)


def test_a_forked_child_is_refused_and_leaves_the_connection_to_its_parent() -> None:
    for act, tls in ((echo, None), (encrypted(echo), trusting())):
        with peer_that(act) as where, epollo.connect(where, tls=tls) as client:
            assert client.request(b"before") == b"before"

            def child(client: Client = client) -> None:
                for call in (
                    lambda: client.request(b""),
                    lambda: client.send(b""),
                    client.receive,
                    client.end,
                    lambda: list(client.requests([b""])),
                ):
                    with pytest.raises(epollo.UsageError, match="made before a fork"):
                        call()
                client.close()

            in_a_fork(child)
            assert client.request(b"after") == b"after"


def test_a_forked_child_is_refused_on_its_own_loop() -> None:
    async def test() -> None:
        with peer_that(echo) as where:
            async with AsyncClient(where) as client:
                assert await client.request(b"before") == b"before"

                def child() -> None:
                    for call in (client.request(b""), client.receive(), client.close()):
                        with pytest.raises(epollo.UsageError, match="made before a fork"):
                            call.send(None)

                in_a_fork(child)
                assert await client.request(b"after") == b"after"

    asyncio.run(test())


def test_another_loop_is_refused() -> None:
    async def use(client: AsyncClient) -> None:
        for call in (client.request(b""), client.send(b""), client.receive(), client.close()):
            with pytest.raises(epollo.UsageError, match="belongs to another event loop"):
                await call

    async def test() -> None:
        with peer_that(echo) as where:
            async with AsyncClient(where) as client:
                await asyncio.to_thread(lambda: asyncio.run(use(client)))
                assert await client.request(b"1") == b"1"

    asyncio.run(test())


def test_nothing_is_sent_after_the_end(run: Run) -> None:
    async def test() -> None:
        with peer_that(late) as where:
            async with AsyncClient(where) as client:
                await client.send(b"1")
                await client.end()
                for call in (client.send(b"2"), client.request(b"2")):
                    with pytest.raises(epollo.UsageError, match=r"end\(\) was called"):
                        await call
                await client.end()
                assert await client.receive() == b"1"

    def late(sock: socket.socket) -> None:
        [message] = read(sock, 2)
        sock.sendall(frame(message))

    run(test())
    with peer_that(late) as where, epollo.connect(where) as client:
        client.send(b"1")
        client.end()
        for call in (lambda: client.send(b"2"), lambda: client.request(b"2")):
            with pytest.raises(epollo.UsageError, match=r"end\(\) was called"):
                call()
        client.end()
        assert client.receive() == b"1"


def test_a_client_that_is_entered_twice_is_one_connection(run: Run) -> None:
    async def test() -> None:
        with peer_that(echo) as where:
            client = AsyncClient(where)
            await asyncio.gather(client.__aenter__(), client.__aenter__())
            async with client:
                assert await client.request(b"1") == b"1"
            with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                async with client:
                    await client.request(b"2")

    run(test())


# The close.


def test_a_server_that_never_ends_is_given_up_and_that_is_said(run: Run) -> None:
    """It may not have read what was sent; a connection without open messages needs no wait."""
    done = threading.Event()

    def stays(sock: socket.socket) -> None:
        for message in read(sock, 1):
            sock.sendall(frame(message))
        assert done.wait(DEADLINE)

    text = r"did not end the connection within 0\.2 s; what was sent may be lost"

    async def test() -> None:
        done.clear()
        with peer_that(stays) as where:
            client = await AsyncClient.connect(where, timeout=SOON)
            await client.send(b"1")
            with pytest.raises(epollo.ClientTimeout, match=text):
                await client.close()
            done.set()
        done.clear()
        with peer_that(stays) as where:
            async with AsyncClient(where, timeout=None) as client:
                assert await client.request(b"1") == b"1"
            done.set()

    run(test())
    done.clear()
    with peer_that(stays) as where:
        client = epollo.connect(where, timeout=SOON)
        client.send(b"1")
        with pytest.raises(epollo.ClientTimeout, match=text):
            client.close()
        client.close()
        done.set()
    done.clear()
    with peer_that(stays) as where:
        with epollo.connect(where, timeout=None) as client:
            assert client.request(b"1") == b"1"
        done.set()


async def fail_in_a_block(where: str) -> None:
    async with AsyncClient(where, timeout=SOON) as client:
        await client.send(b"1")
        raise ZeroDivisionError


def test_the_error_of_a_block_is_raised_before_that_of_its_close(run: Run) -> None:
    async def test() -> None:
        with peer_that(lambda _: done.wait(DEADLINE)) as where:
            with pytest.raises(ZeroDivisionError):
                await fail_in_a_block(where)
            done.set()

    done = threading.Event()
    run(test())
    done.clear()
    with peer_that(lambda _: done.wait(DEADLINE)) as where:
        with (  # noqa: PT012
            pytest.raises(ZeroDivisionError),
            epollo.connect(where, timeout=SOON) as client,
        ):
            client.send(b"1")
            raise ZeroDivisionError
        done.set()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_leaving_a_block_with_an_error_does_not_wait_for_the_server(secure: bool) -> None:
    """Without a limit it would wait for ever here."""

    def stays(sock: socket.socket) -> None:
        assert done.wait(DEADLINE)

    done = threading.Event()
    tls = trusting() if secure else None
    act = encrypted(stays) if secure else stays
    for use in (leave_a_client, leave_a_borrowed_client):
        done.clear()
        with peer_that(act) as where:
            with pytest.raises(ZeroDivisionError):
                use(where, tls)
            assert not done.is_set()
            done.set()


def leave_a_client(where: str, tls: ssl.SSLContext | None) -> None:
    with epollo.connect(where, tls=tls, timeout=None) as client:
        client.send(b"1")
        raise ZeroDivisionError


def leave_a_borrowed_client(where: str, tls: ssl.SSLContext | None) -> None:
    with epollo.Pool(where, tls=tls, timeout=None) as pool, pool.client() as client:
        client.send(b"1")
        raise ZeroDivisionError


def test_leaving_a_pool_with_an_error_ends_the_requests_of_other_threads() -> None:
    raised: list[epollo.EpolloError] = []
    arrived = threading.Event()

    def stays(sock: socket.socket) -> None:
        read(sock, 1)
        arrived.set()
        sock.recv(1)

    def ask() -> None:
        try:
            pool.request(b"1")
        except epollo.EpolloError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    with peer_that(stays) as where:
        with (  # noqa: PT012
            pytest.raises(ZeroDivisionError),
            epollo.Pool(where, timeout=None) as pool,
        ):
            thread.start()
            assert arrived.wait(DEADLINE)
            raise ZeroDivisionError
        thread.join()
    assert [type(error) for error in raised] == [epollo.ConnectionClosed]


def test_a_forked_child_does_not_hide_the_end_of_a_connection_that_is_given_up(run: Run) -> None:
    def waits_for_the_end(sock: socket.socket) -> None:
        silent(sock)
        ended.set()

    async def test() -> None:
        async with AsyncClient(where, timeout=DEADLINE) as client:
            with held_by_a_child():
                with pytest.raises(epollo.ClientTimeout):
                    await client.request(b"1", timeout=SOON)
                assert await asyncio.to_thread(ended.wait, DEADLINE)

    ended = threading.Event()
    for tls in (None, trusting()):
        ended.clear()
        act = encrypted(waits_for_the_end) if tls else waits_for_the_end
        with peer_that(act) as where, epollo.connect(where, tls=tls) as client, held_by_a_child():
            with pytest.raises(epollo.ClientTimeout):
                client.request(b"1", timeout=SOON)
            assert ended.wait(DEADLINE)
    ended.clear()
    with peer_that(waits_for_the_end) as where:
        run(test())


@contextmanager
def held_by_a_child() -> Iterator[None]:
    """A forked child has every descriptor open until the block is left."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork next to other threads
        child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_a_reset_at_the_close_is_raised_if_messages_may_be_lost(run: Run) -> None:
    def resets(sock: socket.socket) -> None:
        sent.wait(DEADLINE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def test() -> None:
        sent.clear()
        with peer_that(resets) as where:
            client = await AsyncClient.connect(where)
            await client.send(b"1")
            await asyncio.sleep(0)
            sent.set()
            with pytest.raises(epollo.ConnectionClosed, match="what was sent may be lost"):
                await client.close()

    sent = threading.Event()
    run(test())
    sent.clear()
    with peer_that(resets) as where:
        client = epollo.connect(where)
        client.send(b"1")
        sent.set()
        with pytest.raises(epollo.ConnectionClosed, match="what was sent may be lost"):
            client.close()


# A framing of the user's own.


class Own(Framing):
    """A framing of one byte a message, with a bug."""

    def __init__(self, encoded: object = b"?", fed: object = ()) -> None:
        super().__init__("own", 100)
        self.encoded, self.fed = encoded, fed

    def encode(self, message: Buffer) -> Any:
        return self.encoded

    def decoder(self) -> Any:
        return OwnDecoder(self.fed)


class OwnDecoder(Decoder):
    """Its decoder."""

    def __init__(self, fed: object) -> None:
        self.fed = fed

    def feed(self, data: Buffer) -> Any:
        if isinstance(self.fed, Exception):
            raise self.fed
        return self.fed

    def eof(self) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("encoded", [None, "text", 7], ids=str)
def test_an_encode_that_returns_no_bytes_is_named(run: Run, encoded: object) -> None:
    text = f"the framing's encode returned {type(encoded).__name__}, not bytes"

    async def test() -> None:
        with peer_that(silent) as where:
            async with AsyncClient(where, Own(encoded)) as client:
                for call in (client.request(b""), client.send(b"")):
                    with pytest.raises(TypeError, match=text):
                        await call
                assert client.live
                assert not client.open_requests

    run(test())
    with peer_that(silent) as where, epollo.connect(where, Own(encoded)) as client:
        for call in (lambda: client.request(b""), lambda: client.send(b"")):
            with pytest.raises(TypeError, match=text):
                call()
        assert client.live


@pytest.mark.parametrize(
    ("fed", "text"),
    [
        (None, "framing own raised TypeError.*the decoder's feed returned NoneType, not a list"),
        (RuntimeError("a bug"), "framing own raised RuntimeError.'a bug'"),
        ([], "framing own raised ZeroDivisionError"),
    ],
    ids=str,
)
def test_a_decoder_with_a_bug_is_named(run: Run, fed: object, text: str) -> None:
    def answers(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b"!")

    async def test() -> None:
        with peer_that(answers) as where:
            async with AsyncClient(where, Own(fed=fed)) as client:
                with pytest.raises(epollo.ConnectionClosed, match=text) as caught:
                    await client.request(b"")
                assert caught.value.__cause__ is not None

    run(test())
    with peer_that(answers) as where, epollo.connect(where, Own(fed=fed)) as client:
        with pytest.raises(epollo.ConnectionClosed, match=text) as caught:
            client.request(b"")
        assert caught.value.__cause__ is not None
