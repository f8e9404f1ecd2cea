"""The asyncio client: the behaviour of the blocking one, and sharing by many tasks."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import epollo
from epollo import AsyncClient, Backoff, Connection, address
from epollo.client import arguments
from epollo.client.asynchronous import client as asynchronous_client
from epollo.client.asynchronous import dialing
from epollo.client.transport import Transport
from tests.certificates import server_context, trusting
from tests.client import support
from tests.client.support import (
    ENDS,
    FRAMINGS,
    SOON,
    Act,
    echo,
    encrypted,
    first_received,
    peer_that,
    read,
    resolving,
    says,
    silent,
)
from tests.engines import Engine
from tests.logs import Log
from tests.other_loops import Run
from tests.support import DEADLINE, Recorder, frame, unacknowledged, until, unused

NO_WAIT = Backoff(first=0.001, most=0.001)


@asynccontextmanager
async def client_of(*acts: Act, **settings: Any) -> AsyncIterator[AsyncClient]:
    """A client of a peer that does ``acts``; its timeout does not apply to connecting."""
    timeout = settings.pop("timeout", DEADLINE)
    with peer_that(*acts) as where:
        async with AsyncClient(where, timeout=timeout and DEADLINE, **settings) as client:
            client.timeout = timeout
            yield client


@pytest.mark.parametrize("framing", FRAMINGS)
def test_request(engine: Engine, run: Run, framing: str) -> None:
    async def test() -> None:
        async with AsyncClient(server.addresses[0], framing) as client:
            assert await client.request(b"hello") == b"HELLO"

    with engine.server(lambda message: message.upper(), framing=framing) as server:
        run(test())


def test_a_client_of_connect_is_closed_by_its_caller(run: Run) -> None:
    async def test() -> None:
        with peer_that(echo) as where:
            client = await AsyncClient.connect(where)
            assert await client.request(b"hello") == b"hello"
            await client.close()
            await client.close()
            for call in (client.request(b""), client.send(b""), client.receive(), client.end()):
                with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                    await call
        with pytest.raises(epollo.ConnectionClosed, match="is not connected"):
            await AsyncClient(where).request(b"")

    run(test())


def test_an_abort_while_the_loop_does_not_run_raises_nothing() -> None:
    async def begin() -> asyncio.Task[AsyncClient]:
        connecting = asyncio.create_task(client.__aenter__())
        await asyncio.sleep(0)
        return connecting

    with support.full_listener() as (host, port), asyncio.Runner() as runner:
        client = AsyncClient(f"{host}:{port}", timeout=None)
        connecting = runner.run(begin())
        assert not connecting.done()
        client.abort()


def test_requests_of_many_tasks_share_the_connection(engine: Engine, run: Run) -> None:
    async def ask(client: AsyncClient, task: int) -> None:
        for number in range(20):
            message = b"%d %d" % (task, number) + b"x" * (task * 100)
            assert await client.request(message) == message.upper()

    async def test() -> None:
        async with AsyncClient(server.addresses[0], timeout=DEADLINE) as client:
            await asyncio.gather(*(ask(client, task) for task in range(100)))

    with engine.server(bytes.upper) as server:
        run(test())


@pytest.mark.parametrize("name", ENDS)
def test_each_way_a_connection_ends_is_an_error_of_its_own_behind_the_messages(
    run: Run, name: str
) -> None:
    end = ENDS[name]

    async def test() -> None:
        async with client_of(end.act, framing=end.framing) as client:
            await client.send(b"hello")
            assert await client.receive() == b"first"
            first_received.set()
            for _ in range(2):
                with pytest.raises(end.error, match=end.text):
                    await client.receive()
            for call in (client.request(b"more"), client.send(b"more"), client.end()):
                with pytest.raises(end.error, match=end.text):
                    await call

    run(test())


@pytest.mark.parametrize("name", ENDS)
def test_each_end_is_raised_in_every_waiting_request(run: Run, name: str) -> None:
    end = ENDS[name]

    async def test() -> None:
        async with client_of(end.act, framing=end.framing) as client:
            tasks = [asyncio.create_task(client.request(b"%d" % n)) for n in range(3)]
            assert await tasks[0] == b"first"
            first_received.set()
            others = await asyncio.gather(*tasks[1:], return_exceptions=True)
            assert [type(error) for error in others] == [end.error] * 2
            assert others[0] is not others[1]  # each with the traceback of its own task

    run(test())


def test_a_request_that_is_cancelled_disturbs_no_other(run: Run) -> None:
    arrived, go = threading.Event(), threading.Event()

    def answers_late(sock: socket.socket) -> None:
        messages = read(sock, 3)
        arrived.set()
        assert go.wait(DEADLINE)
        sock.sendall(b"".join(map(frame, messages)))
        echo(sock)

    async def test() -> None:
        async with client_of(answers_late) as client:
            tasks = [asyncio.create_task(client.request(b"%d" % n)) for n in range(3)]
            assert await asyncio.to_thread(arrived.wait, DEADLINE)
            tasks[1].cancel()
            await asyncio.wait(tasks[1:2])
            last = asyncio.create_task(client.request(b"last"))
            go.set()
            assert [await task for task in (tasks[0], tasks[2], last)] == [b"0", b"2", b"last"]
            assert tasks[1].cancelled()

    run(test())


def test_a_receive_that_is_cancelled_loses_no_message(run: Run) -> None:
    go = threading.Event()

    def says_late(sock: socket.socket) -> None:
        assert go.wait(DEADLINE)
        sock.sendall(frame(b"one") + frame(b"two"))

    async def test() -> None:
        async with client_of(says_late) as client:
            tasks = [asyncio.create_task(client.receive()) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            go.set()
            assert await asyncio.gather(*tasks[1:]) == [b"one", b"two"]

    run(test())


def test_messages_without_a_request_are_iterated(engine: Engine, run: Run) -> None:
    pushed = [b"%d" % number for number in range(1000)]

    class Pushing(Recorder):
        def connected(self, connection: epollo.Connection) -> None:
            for message in pushed:
                connection.send(message)
            connection.close()

    async def test() -> None:
        async with AsyncClient(server.addresses[0]) as client:
            assert [message async for message in client] == pushed

    with engine.server(Pushing()) as server:
        run(test())


def test_a_half_close_leaves_the_replies_to_come(engine: Engine, run: Run) -> None:
    async def test() -> None:
        async with AsyncClient(server.addresses[0]) as client:
            messages = [b"%d" % number for number in range(1000)]
            for message in messages:
                await client.send(message)
            await client.end()
            assert [message async for message in client] == messages

    with engine.server(Recorder()) as server:
        run(test())


def test_a_server_that_sends_more_than_is_received_has_to_wait(run: Run) -> None:
    size, count = 1 << 20, 64
    message = bytes(size)
    blocked = threading.Event()
    sent = 0

    def floods(sock: socket.socket) -> None:
        nonlocal sent
        sock.settimeout(SOON)  # blocks meanwhile: the client has stopped reading
        while sent < count:
            unsent = memoryview(frame(message))
            while unsent:
                try:
                    unsent = unsent[sock.send(unsent) :]
                except TimeoutError:
                    blocked.set()
                    sock.settimeout(DEADLINE)
            sent += 1
        blocked.set()
        read(sock, 1)  # unread bytes would make its close a reset

    async def test() -> None:
        async with client_of(floods, timeout=DEADLINE, max_frame=2 << 20) as client:
            assert await asyncio.to_thread(blocked.wait, DEADLINE)
            assert sent < count // 2
            assert (
                await client.request(b"") == message
            )  # it reads again, and takes this as the reply
            assert [len(message) async for message in client] == [size] * (count - 1)

    run(test())


def test_no_message_is_a_timeout_and_a_later_one_is_not_lost(run: Run) -> None:
    late = threading.Event()

    def answer_late(sock: socket.socket) -> None:
        assert late.wait(DEADLINE)
        sock.sendall(frame(b"late"))

    async def test() -> None:
        async with client_of(answer_late, timeout=SOON) as client:
            with pytest.raises(epollo.ClientTimeout, match=r"no message from .* in 0\.2 s"):
                await client.receive()
            client.timeout = DEADLINE
            late.set()
            assert await client.receive() == b"late"

    run(test())


def test_a_reply_that_does_not_come_in_time_closes_the_connection_for_all(run: Run) -> None:
    async def test() -> None:
        async with client_of(silent, timeout=60) as client:
            waiting = asyncio.create_task(client.request(b"patient"))
            await asyncio.sleep(0)
            client.timeout = SOON
            with pytest.raises(epollo.ClientTimeout, match="no reply from"):
                await client.request(b"hasty")
            for call in (waiting, client.request(b"next")):
                with pytest.raises(epollo.ConnectionClosed, match="a request had no reply"):
                    await call

    run(test())


def test_a_peer_that_does_not_read_is_a_timeout(run: Run) -> None:
    async def test() -> None:
        gone = threading.Event()
        async with client_of(lambda _: gone.wait(DEADLINE), max_frame=1 << 28) as client:
            try:
                client.timeout = SOON
                with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
                    await client.send(bytes(100_000_000))
                with pytest.raises(epollo.ConnectionClosed, match="a message was not taken"):
                    await client.send(b"more")
            finally:
                gone.set()

    run(test())


def test_a_request_is_sent_only_after_the_peer_has_taken_earlier_bytes(run: Run) -> None:
    async def test() -> None:
        gone = threading.Event()
        async with client_of(lambda _: gone.wait(DEADLINE), max_frame=1 << 28) as client:
            try:
                sending = asyncio.create_task(client.send(bytes(100_000_000)))
                await asyncio.sleep(0)
                client.timeout = SOON
                with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
                    await client.request(b"behind")
                sending.cancel()
                await asyncio.wait([sending])
                with pytest.raises(epollo.ClientTimeout, match="did not take what was sent"):
                    await client.close()
            finally:
                gone.set()

    run(test())


def test_sent_messages_arrive_after_a_close(run: Run) -> None:
    arrived: list[bytes] = []

    async def test() -> None:
        for wrapped in (lambda act: act, encrypted):
            arrived.clear()
            tls = trusting() if wrapped is encrypted else None
            act = wrapped(lambda sock: arrived.extend(read(sock, 9)))
            async with client_of(act, tls=tls) as client:
                for number in range(9):
                    await client.send(bytes([number]) * 100_000)
            assert arrived == [bytes([number]) * 100_000 for number in range(9)]

    run(test())


def test_a_close_ends_the_requests_that_wait(run: Run) -> None:
    async def test() -> None:
        async with client_of(silent) as client:
            calls = [
                asyncio.create_task(client.request(b"")),
                asyncio.create_task(client.receive()),
            ]
            await asyncio.sleep(0)
            await client.close()
            for call in calls:
                with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                    await call

    run(test())


def test_a_message_that_cannot_be_sent_leaves_the_connection_usable(run: Run) -> None:
    async def test() -> None:
        async with client_of(echo, max_frame=100) as client:
            for call in (client.send(bytes(100)), client.request(bytes(100))):
                with pytest.raises(epollo.EncodeError):
                    await call
            assert await client.request(b"fine") == b"fine"

    run(test())


# Pipelined requests.


def test_replies_of_requests_come_in_order_with_at_most_a_window_ahead(run: Run) -> None:
    taken = 0

    def numbers() -> Iterator[bytes]:
        nonlocal taken
        for number in range(500):
            taken += 1
            yield b"%d" % number

    async def test() -> None:
        nonlocal taken
        async with client_of(echo, timeout=DEADLINE) as client:
            for window in (1, 7, 5000):
                taken, replies = 0, 0
                async for reply in client.requests(numbers(), window):
                    assert reply == b"%d" % replies
                    assert taken - replies <= window + 1  # and one that waits to be sent
                    replies += 1
                assert replies == taken == 500
            with pytest.raises(epollo.UsageError, match="window=0"):
                await anext(client.requests([], window=0))

    run(test())


def test_requests_that_are_given_up_disturb_no_other(run: Run) -> None:
    async def test() -> None:
        async with client_of(echo) as client:
            replies = client.requests([b"%d" % number for number in range(9)], window=5)
            assert await anext(replies) == b"0"
            assert await client.request(b"between") == b"between"
            await replies.aclose()  # type: ignore[attr-defined]
            assert await client.request(b"behind") == b"behind"

    run(test())


def test_the_replies_before_a_message_that_cannot_be_sent_are_yielded_then_the_error(
    run: Run,
) -> None:
    async def test() -> None:
        async with client_of(echo, max_frame=100) as client:
            replies = client.requests([b"a", b"b", bytes(100), b"c"])
            assert [await anext(replies), await anext(replies)] == [b"a", b"b"]
            with pytest.raises(epollo.EncodeError):
                await anext(replies)

    run(test())


# Connecting, and reconnecting.


def test_nothing_listening_is_connect_error(run: Run, tmp_path: Path) -> None:
    async def test() -> None:
        with unused() as nobody:
            for where in (nobody, f"unix:{tmp_path / 'none'}"):
                with pytest.raises(epollo.ConnectError, match=f"cannot connect to {where}: .*; "):
                    await AsyncClient.connect(where, reconnect=True)

    run(test())


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        with support.full_listener() as full, peer_that(echo) as where:
            good = ("127.0.0.1", address.parse(where).port)
            monkeypatch.setattr(socket, "getaddrinfo", resolving(full, good))
            support.shorten_shares(monkeypatch)
            async with AsyncClient("several.example:80", timeout=DEADLINE) as client:
                assert await client.request(b"hello") == b"hello"
            monkeypatch.setattr(socket, "getaddrinfo", resolving(full, full))
            with pytest.raises(epollo.ConnectError, match="timed out; nothing answers there"):
                await AsyncClient.connect("several.example:80", timeout=SOON)

    run(test())


def test_a_name_is_looked_up(run: Run) -> None:
    async def test() -> None:
        with peer_that(echo) as where:
            async with AsyncClient(f"localhost:{address.parse(where).port}") as client:
                assert await client.request(b"hello") == b"hello"

    run(test())


@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix"])
def test_a_server_that_comes_again_is_connected_anew_once_for_all(
    engine: Engine, run: Run, where: str, tmp_path: Path
) -> None:
    async def test() -> None:
        bind = where.replace("unix", f"unix:{tmp_path / 'server'}")
        with engine.server(Recorder(), bind=bind) as server:
            bind = server.addresses[0]
            client = await AsyncClient.connect(bind, reconnect=NO_WAIT)
            assert await client.request(b"before") == b"before"
        with pytest.raises(epollo.StreamEnded):
            await client.receive()
        again = Recorder()
        with engine.server(again, bind=bind):
            requests = [b"%d" % number for number in range(50)]
            replies = await asyncio.gather(*map(client.request, requests))
            assert replies == requests
            await client.close()
            again.end()
            assert again.opened.qsize() == 1

    run(test())


def test_a_message_that_may_have_arrived_is_not_sent_twice(run: Run) -> None:
    seen: list[list[bytes]] = []

    def take(sock: socket.socket) -> None:
        seen.append(read(sock, 1))

    def answer(sock: socket.socket) -> None:
        take(sock)
        sock.sendall(frame(b"reply"))

    async def test() -> None:
        async with client_of(take, answer, reconnect=NO_WAIT) as client:
            with pytest.raises(epollo.ConnectionClosed):
                await client.request(b"one")
            assert await client.request(b"two") == b"reply"

    run(test())
    assert seen == [[b"one"], [b"two"]]


def test_an_idempotent_request_is_sent_once_more_and_no_more(run: Run) -> None:
    async def test() -> None:
        async with client_of(support.reset, echo, reconnect=NO_WAIT) as client:
            assert await client.request(b"again", idempotent=True) == b"again"
        for acts, reconnect in (((support.reset,) * 2, NO_WAIT), ((support.reset,), False)):
            async with client_of(*acts, reconnect=reconnect) as client:
                with pytest.raises(epollo.ConnectionClosed):
                    await client.request(b"again", idempotent=True)

    run(test())


def test_a_late_reply_stays_behind_on_the_old_connection(run: Run) -> None:
    async def test() -> None:
        async with client_of(silent, echo, timeout=SOON, reconnect=True) as client:
            with pytest.raises(epollo.ClientTimeout):
                await client.request(b"first")
            client.timeout = DEADLINE
            assert await client.request(b"second") == b"second"

    run(test())


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff(first=1, most=1, jitter=0, attempts=3), [0, 1, 1]),
        (Backoff(first=100, most=100, jitter=0), [0]),  # longer than the timeout, so not started
    ],
)
def test_the_attempts_to_reconnect_are_bounded(
    run: Run, monkeypatch: pytest.MonkeyPatch, backoff: Backoff, expected: list[float]
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def test() -> None:
        with peer_that(lambda _: None) as where:
            client = await AsyncClient.connect(where, reconnect=backoff, timeout=60)
        with pytest.raises(epollo.StreamEnded):
            await client.receive()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            with pytest.raises(epollo.ConnectError, match="nothing listens there"):
                await client.request(b"")
        await client.close()

    run(test())
    assert waits == expected


# TLS.


def test_tls(run: Run) -> None:
    async def test() -> None:
        big = bytes(range(256)) * 4000
        async with client_of(
            encrypted(echo), tls=trusting(), max_frame=1 << 21, timeout=DEADLINE
        ) as client:
            assert await client.request(b"hello") == b"hello"
            assert await asyncio.gather(*(client.request(big) for _ in range(8))) == [big] * 8
            with pytest.raises(epollo.UsageError, match="half-close"):
                await client.end()

    run(test())


def test_no_timeout_waits_for_ever(run: Run) -> None:
    async def test() -> None:
        for act, tls in ((echo, None), (encrypted(echo), trusting())):
            async with client_of(act, tls=tls, timeout=None) as client:
                assert await client.request(b"hello") == b"hello"
                await client.send(b"more")
                assert await client.receive() == b"more"

    run(test())


def test_tls_on_a_unix_socket_by_another_name(run: Run, tmp_path: Path) -> None:
    async def test() -> None:
        act = encrypted(echo, server_context("epollo.example"))
        with peer_that(act, to=f"unix:{tmp_path / 'tls'}") as where:
            name = "epollo.example"
            async with AsyncClient(where, tls=trusting(), server_hostname=name) as client:
                assert await client.request(b"hello") == b"hello"

    run(test())


@pytest.mark.parametrize(
    ("act", "trust", "text"),
    [
        (encrypted(echo), False, r"certificate of 127\.0\.0\.1 is not trusted: .*local issuer"),
        (encrypted(echo, server_context("other.example")), True, "mismatch.*server_hostname"),
        (says(b"220 hello\r\n" * 9), True, "the server does not speak TLS; connect without tls"),
        (lambda _: None, True, "broke off the TLS handshake; perhaps it does not speak TLS"),
        (silent, True, "no TLS handshake in time; perhaps"),
    ],
    ids=["untrusted", "other name", "plain", "closes", "silent"],
)
def test_each_way_a_handshake_fails_is_one_line(run: Run, act: Act, trust: bool, text: str) -> None:
    async def test() -> None:
        context = trusting() if trust else ssl.create_default_context()
        timeout = SOON if act is silent else DEADLINE
        with peer_that(act) as where:
            with pytest.raises(epollo.TLSHandshakeError, match=text) as caught:
                await AsyncClient.connect(where, tls=context, timeout=timeout)
            assert str(caught.value).startswith(f"cannot connect to {where}: ")

    run(test())


def test_tls_without_close_notify_is_not_a_clean_end(run: Run) -> None:
    def cut(sock: socket.socket) -> None:
        with server_context().wrap_socket(sock, server_side=True) as inner:
            inner.sendall(frame(b"first"))

    async def test() -> None:
        for act, clean in ((encrypted(says(frame(b"first"))), True), (cut, False)):
            async with client_of(act, tls=trusting()) as client:
                assert await client.receive() == b"first"
                with pytest.raises(epollo.ConnectionClosed) as caught:
                    await client.receive()
                assert isinstance(caught.value, epollo.StreamEnded) is clean
                assert ("close_notify" in str(caught.value)) is not clean

    run(test())


def test_tls_reconnects(run: Run) -> None:
    async def test() -> None:
        acts = encrypted(lambda sock: read(sock, 1)), encrypted(echo)
        async with client_of(*acts, tls=trusting(), reconnect=NO_WAIT) as client:
            with pytest.raises(epollo.ConnectionClosed):
                await client.request(b"one")
            assert await client.request(b"two") == b"two"

    run(test())


# Ends that lose nothing.


def test_a_client_is_never_connected_to_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        with (
            support.dead_port(monkeypatch) as where,
            pytest.raises(epollo.ConnectError, match="nothing listens there"),
        ):
            async with AsyncClient(where, timeout=SOON) as client:
                await client.request(b"who are you?")

    run(test())


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_sent_messages_arrive_after_a_close_with_open_replies(
    engine: Engine, run: Run, tmp_path: Path, kind: str
) -> None:
    handler = support.Holding()
    tls = trusting() if kind == "tls" else None
    count = 6 if kind == "unix" else 64  # a Unix socket takes about 200 KiB

    async def test() -> None:
        client = await AsyncClient.connect(server.addresses[0], tls=tls, timeout=DEADLINE)
        await client.send(b"hold")
        assert await asyncio.to_thread(handler.held.wait, DEADLINE)
        for _ in range(count):
            await client.send(bytes(16 << 10))  # in all more than the server's kernel takes
        closing = asyncio.create_task(client.close())
        await asyncio.wait(
            [closing], timeout=0.1
        )  # returns early only if it does not wait for the server
        handler.go_on.set()
        await closing

    settings: dict[str, Any] = {"tls": server_context()} if kind == "tls" else {}
    if kind == "unix":
        settings["bind"] = f"unix:{tmp_path / 'server'}"
    with engine.server(handler, slow_handler=0, **settings) as server:
        run(test())
        assert handler.ended.wait(DEADLINE)
    assert handler.count == count


def test_the_last_message_of_a_server_is_received_though_a_send_fails(run: Run) -> None:
    said = threading.Event()

    async def test() -> None:
        async with client_of(support.last_word(said)) as client:
            await client.send(b"hello")
            await asyncio.sleep(0)  # lets the loop send it
            assert said.wait(DEADLINE)  # the loop reads nothing meanwhile
            for _ in range(2):
                await client.send(bytes(64 << 10))
            assert await client.receive() == b"last word"

    run(test())


def test_a_server_that_closes_at_once_is_not_connected_to_without_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    waits: list[float] = []
    backoff = Backoff(first=0.1, most=1, jitter=0)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def test() -> None:
        async with AsyncClient(server.addresses[0]) as first:
            assert await first.request(b"the only one") == b"the only one"
            async with AsyncClient(server.addresses[0], reconnect=backoff, timeout=60) as client:
                with monkeypatch.context() as patched:
                    patched.setattr(asyncio, "sleep", sleep)
                    for _ in range(20):
                        with pytest.raises(epollo.EpolloError):
                            await client.request(b"hello", idempotent=True)

    with epollo.Server(bind="127.0.0.1:0", max_connections=1) as server:
        run(test())
    log.take()
    assert sum(waits) > 5


@pytest.mark.parametrize(
    ("host", "issued"), [("[fe80::77%lo]", "fe80::77"), ("epollo.example.", "epollo.example")]
)
def test_a_certificate_is_for_the_host_without_its_zone_or_last_dot(
    run: Run, monkeypatch: pytest.MonkeyPatch, host: str, issued: str
) -> None:
    async def test() -> None:
        with peer_that(encrypted(echo, server_context(issued))) as where:
            server = address.parse(where)
            monkeypatch.setattr(socket, "getaddrinfo", resolving((server.host, server.port)))
            async with AsyncClient(f"{host}:{server.port}", tls=trusting()) as client:
                assert await client.request(b"hello") == b"hello"

    run(test())


def test_the_kernel_holds_nothing_of_a_connection_that_was_given_up(run: Run) -> None:
    closed = threading.Event()
    ends: list[tuple[str, int]] = []

    def take_nothing(sock: socket.socket) -> None:
        ends.extend([sock.getpeername(), sock.getsockname()])
        assert closed.wait(DEADLINE)

    async def test() -> None:
        async with client_of(take_nothing, max_frame=1 << 28, timeout=SOON) as client:
            until(lambda: len(ends) == 2)
            with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
                await client.send(bytes(16 << 20))
            for _ in range(100):  # it is closed in a later iteration of the loop
                await asyncio.sleep(0)
            held.append(unacknowledged(*ends))
            closed.set()

    held: list[int] = []
    run(test())
    assert held == [0]


# Replies matched to requests by an identifier.

MATCH: dict[str, Any] = {"match": lambda message: message.partition(b" ")[0]}


def test_replies_that_come_out_of_order_go_each_to_its_request(engine: Engine, run: Run) -> None:
    first = threading.Event()

    def received(message: bytes) -> bytes:
        if message == b"1 first":
            assert first.wait(DEADLINE)
        return message

    async def test() -> None:
        async with AsyncClient(server.addresses[0], **MATCH) as client:
            late = asyncio.create_task(client.request(b"1 first"))
            await asyncio.sleep(0)
            assert await client.request(b"2 second") == b"2 second"
            first.set()
            assert await late == b"1 first"

    with engine.server(received, threads=2, in_flight=2, ordered=False) as server:
        run(test())


def test_a_message_of_the_servers_own_is_not_taken_for_a_reply(engine: Engine, run: Run) -> None:
    def received(message: bytes, connection: Connection) -> bytes:
        connection.send(b"0 news")
        return message

    async def test() -> None:
        async with AsyncClient(server.addresses[0], **MATCH) as client:
            assert await client.request(b"1 hello") == b"1 hello"

    with engine.server(received) as server:
        run(test())


AFTER_MAIN = """
import asyncio, os, sys, threading, time
from concurrent.futures import thread as pools
import epollo

async def ask():
    async with epollo.AsyncClient(sys.argv[1], timeout=20) as client:
        print(await client.request(b"after main"), flush=True)

def run():
    threading.main_thread().join()
    while not pools._shutdown:  # set once the main thread has ended
        time.sleep(0.001)
    asyncio.run(ask())

threading.Thread(target=run).start()
"""


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="3.12 starts no thread once the main one has ended"
)
def test_a_client_that_outlives_the_main_thread_connects_by_a_name() -> None:
    with epollo.Server(bind="127.0.0.1:0") as server:
        where = server.addresses[0].replace("127.0.0.1", "localhost")
        done = subprocess.run(
            [sys.executable, "-c", AFTER_MAIN, where],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.stdout == "b'after main'\n", done.stderr


# A close while something else is under way.


def mute(began: threading.Event) -> Act:
    """Takes a TLS handshake's first bytes and answers nothing."""

    def act(sock: socket.socket) -> None:
        assert sock.recv(100)
        began.set()
        silent(sock)

    return act


def test_a_close_stops_a_connect(run: Run) -> None:
    began = threading.Event()

    async def test() -> None:
        with peer_that(mute(began)) as where:
            client = AsyncClient(where, tls=trusting(), timeout=None)
            entering = asyncio.create_task(client.__aenter__())
            assert await asyncio.to_thread(began.wait, DEADLINE)
            await client.close()
            with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                await entering
            assert not client.live

    run(test())


def test_a_connection_made_just_before_a_close_is_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dial(*arguments: Any) -> Transport:
        transport = await dialing.dial(*arguments)
        await client.close()
        return transport

    async def test() -> None:
        monkeypatch.setattr(asynchronous_client, "dial", dial)
        with pytest.raises(epollo.ConnectionClosed, match="closed here"):
            await client.__aenter__()
        assert not client.live

    with peer_that(silent) as where:
        client = AsyncClient(where, timeout=None)
        run(test())


def test_a_close_stops_the_wait_before_a_reconnect(run: Run) -> None:
    async def test() -> None:
        backoff = Backoff(first=1000, most=1000, jitter=0)
        with peer_that(lambda _: None) as where:
            client = await AsyncClient.connect(where, reconnect=backoff, timeout=None)
            with pytest.raises(epollo.StreamEnded):
                await client.receive()
        tasks = [asyncio.create_task(client.request(b"")) for _ in range(2)]
        assert client._reconnects is not None
        while client._reconnects.failure is None:  # the first attempt is made at once
            await asyncio.sleep(0.001)
        await client.close()
        for task in tasks:
            with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                await task

    run(test())


def test_a_close_stops_the_handshake_of_a_reconnect(run: Run) -> None:
    began = threading.Event()

    async def test() -> None:
        acts = encrypted(lambda _: None), mute(began)
        with peer_that(*acts) as where:
            client = await AsyncClient.connect(
                where, reconnect=NO_WAIT, timeout=None, tls=trusting()
            )
            with pytest.raises(epollo.StreamEnded):
                await client.receive()
            asking = asyncio.create_task(client.request(b""))
            assert await asyncio.to_thread(began.wait, DEADLINE)
            await client.close()
            with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                await asking

    run(test())


@contextmanager
def peer_that_stays() -> Iterator[str]:
    """The address of a peer that neither reads nor ends its connection within the block."""
    gone = threading.Event()
    with peer_that(lambda _: gone.wait(DEADLINE)) as where:
        try:
            yield where
        finally:
            gone.set()


def test_a_second_close_goes_on_if_the_first_is_cancelled(run: Run) -> None:
    async def test() -> None:
        with peer_that_stays() as where:
            client = await AsyncClient.connect(where, timeout=DEADLINE)
            asking = asyncio.create_task(client.request(b"hello"))
            await asyncio.sleep(0)
            client.timeout = None
            first, second = (asyncio.create_task(client.close()) for _ in range(2))
            await asyncio.sleep(0)
            assert not second.done()
            first.cancel()
            with pytest.raises(epollo.ConnectionClosed, match="may be lost"):
                await second
            with pytest.raises(epollo.ConnectionClosed):
                await asking

    run(test())


def test_a_block_left_with_an_error_waits_for_the_server_only_shortly(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "_AFTER_ERROR", SOON)

    async def leave(where: str) -> None:
        async with AsyncClient(where, timeout=None) as client:
            await client.send(b"hello")
            raise ZeroDivisionError

    async def leave_pool(where: str) -> None:
        async with epollo.AsyncPool([where], timeout=None) as pool:
            asking = asyncio.create_task(pool.request(b"hello"))
            while not any(client.open_requests for client in pool._upstreams[0].clients):
                await asyncio.sleep(0.001)
            asking.cancel()
            raise ZeroDivisionError

    async def test() -> None:
        for left in leave, leave_pool:
            with peer_that_stays() as where, pytest.raises(ZeroDivisionError):
                await left(where)

    run(test())


# Reading and sending.


def test_a_fast_peer_over_tls_leaves_the_loop_its_turns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def endless(transport: Transport) -> bytes:
        reads.append(1)
        assert len(reads) < 1000
        return frame(bytes(16 << 10))

    async def test() -> None:
        pushes: dict[str, Any] = {**MATCH, "on_push": lambda _: None}
        async with client_of(encrypted(echo), tls=trusting(), **pushes) as client:
            with monkeypatch.context() as patched:
                patched.setattr(Transport, "receive_now", endless)
                await client.send(b"go")
                while not reads:
                    await asyncio.sleep(0)
                for _ in range(20):
                    reads.clear()
                    await asyncio.sleep(0)
                    assert len(reads) <= 64

    run(test())


@pytest.mark.parametrize(
    "error", [OSError(errno.ENETUNREACH, "unreachable"), OSError(errno.ENOBUFS, "unreachable")]
)
def test_a_send_that_fails_is_noticed_though_the_stream_does_not_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(transport: Transport, data: bytes) -> int:
        raise error

    async def test() -> None:
        async with client_of(echo, timeout=None) as client:
            assert await client.request(b"1") == b"1"
            with monkeypatch.context() as patched:
                patched.setattr(Transport, "try_send", fail)
                with pytest.raises(epollo.ConnectionClosed, match="unreachable"):
                    await client.request(b"2")

    run(test())


def test_a_cancelled_request_without_a_reply_in_time_closes_the_connection(run: Run) -> None:
    async def test() -> None:
        async with client_of(silent) as client:
            asking = asyncio.create_task(client.request(b"1", timeout=SOON))
            await asyncio.sleep(0)
            asking.cancel()
            waiting = client.request(b"2", timeout=None)
            with pytest.raises(epollo.ConnectionClosed, match="a request had no reply"):
                await waiting

    run(test())


def test_a_cancelled_request_whose_reply_came_leaves_the_connection(run: Run) -> None:
    go_on = threading.Event()

    def answers_one(sock: socket.socket) -> None:
        sock.sendall(frame(read(sock, 1)[0]))
        assert go_on.wait(DEADLINE)
        echo(sock)

    async def test() -> None:
        async with client_of(answers_one) as client:
            long = 3.0  # seconds: its reply comes before that
            asking = asyncio.create_task(client.request(b"1", timeout=long))
            await asyncio.sleep(0)
            asking.cancel()
            waiting = asyncio.create_task(client.request(b"2"))
            while not client.late_replies:
                await asyncio.sleep(0.001)
            await asyncio.sleep(long)  # the deadline of the first passes
            go_on.set()
            assert await waiting == b"2"

    run(test())


def test_replies_that_were_taken_are_not_kept(run: Run) -> None:
    async def test() -> None:
        for match in {}, MATCH:
            async with client_of(echo, **match) as client:
                for _ in range(3):
                    assert await client.request(b"1") == b"1"
                assert client._connection is not None
                assert not client._connection._deadlines

    run(test())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_end_that_has_arrived_is_noticed_before_a_request_is_sent(
    run: Run, secure: bool
) -> None:
    said = threading.Event()

    async def test() -> None:
        acts = [support.last_word(said, secure)] * 5
        tls = trusting() if secure else None
        async with client_of(*acts, tls=tls, reconnect=NO_WAIT) as client:
            for _ in acts:
                said.clear()
                assert await client.request(b"hello") == b"last word"
                assert said.wait(DEADLINE)  # the loop sees nothing meanwhile

    run(test())
