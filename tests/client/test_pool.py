"""Pools: a choice among several addresses, health, bounds, and the close."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

import epollo
from epollo import AsyncPool, Backoff, Connection, Pool
from epollo.client import upstream
from epollo.client.asynchronous import pool as asynchronous_pool
from epollo.client.upstream import Upstreams
from tests.certificates import server_context, trusting
from tests.client.support import (
    SOON,
    echo,
    encrypted,
    full_listener,
    peer_that,
    read,
    shorten_shares,
    silent,
)
from tests.engines import Engine
from tests.other_loops import Run
from tests.support import DEADLINE, frame, in_a_fork, until, unused

LONG = Backoff(first=50, most=50, jitter=0)
SHORT = Backoff(first=0.001, most=0.001)


class Named:
    """Replies with the server's name, and counts its connections."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.open = self.most = 0

    def connected(self, connection: Connection) -> None:
        self.open += 1
        self.most = max(self.most, self.open)

    def received(self, message: bytes) -> bytes:
        return self.name

    def disconnected(self, connection: Connection, reason: object) -> None:
        self.open -= 1


@contextmanager
def servers(engine: Engine, *names: bytes, **settings: Any) -> Iterator[tuple[list[Named], Any]]:
    handlers = [Named(name) for name in names]
    with ExitStack() as stack:
        started = [stack.enter_context(engine.server(handler, **settings)) for handler in handlers]
        yield handlers, [server.addresses[0] for server in started]


def in_threads(count: int, call: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_share_a_bounded_number_of_connections(engine: Engine) -> None:
    seen: Counter[bytes] = Counter()
    with servers(engine, b"a", b"b") as (handlers, addresses):
        with Pool(addresses, connections=2, timeout=DEADLINE) as pool:

            def ask() -> None:
                for _ in range(100):
                    seen[pool.request(b"who?")] += 1

            in_threads(8, ask)
        assert [handler.most for handler in handlers] == [2, 2]
    assert seen[b"a"] + seen[b"b"] == 800
    assert min(seen.values()) > 0


def test_tasks_share_a_bounded_number_of_connections(engine: Engine, run: Run) -> None:
    async def test() -> None:
        async with AsyncPool(addresses, connections=2, timeout=DEADLINE) as pool:
            seen = Counter(await asyncio.gather(*(pool.request(b"who?") for _ in range(800))))
            assert seen[b"a"] + seen[b"b"] == 800
            assert min(seen.values()) > 100
        assert max(handler.most for handler in handlers) <= 2

    with servers(engine, b"a", b"b") as (handlers, addresses):
        run(test())


def test_equal_addresses_take_turns(engine: Engine, run: Run) -> None:
    async def test() -> None:
        async with AsyncPool(addresses) as pool:
            assert Counter([await pool.request(b"") for _ in range(9)]) == dict.fromkeys(names, 3)

    names = (b"a", b"b", b"c")
    with servers(engine, *names) as (_, addresses):
        with Pool(addresses) as pool:
            assert Counter(pool.request(b"") for _ in range(9)) == dict.fromkeys(names, 3)
        run(test())


def test_the_least_loaded_address_is_used(run: Run) -> None:
    """One does not reply: all that come after wait at the other only."""
    arrived, done = threading.Event(), threading.Event()

    def stuck(sock: socket.socket) -> None:
        if read(sock, 1) == [b"first"]:
            arrived.set()
            assert done.wait(DEADLINE)
        sock.sendall(frame(b"at last"))
        silent(sock)

    async def test() -> None:
        async with AsyncPool([first, second], timeout=DEADLINE, connections=1) as pool:
            late = asyncio.create_task(pool.request(b"first"))
            assert await asyncio.to_thread(arrived.wait, DEADLINE)
            assert [await pool.request(b"%d" % n) for n in range(9)] == [
                b"%d" % n for n in range(9)
            ]
            done.set()
            assert await late == b"at last"

    with peer_that(stuck) as first, peer_that(echo) as second:
        run(test())
    arrived.clear()
    done.clear()
    with (
        peer_that(stuck) as first,
        peer_that(echo) as second,
        Pool([first, second], timeout=DEADLINE) as pool,
    ):
        late = threading.Thread(target=lambda: pool.request(b"first"))
        late.start()
        assert arrived.wait(DEADLINE)
        assert [pool.request(b"%d" % n) for n in range(9)] == [b"%d" % n for n in range(9)]
        done.set()
        late.join()


# Health.


def test_a_failing_address_is_left_out_and_tried_again(
    engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]

    def states(pool: Upstreams[Any]) -> list[bool]:
        return [each.healthy for each in pool._upstreams]

    async def test() -> None:
        async with async_pool:
            for _ in range(5):
                assert await async_pool.request(b"") == b"a"
            assert states(async_pool) == [False, True]
            now[0] += 51
            late.enter_context(servers(engine, b"b", bind=bad))
            assert {await async_pool.request(b"") for _ in range(5)} == {b"a", b"b"}
            assert states(async_pool) == [True, True]

    with servers(engine, b"b") as (_, [bad]):
        pass
    with servers(engine, b"a") as (_, [good]):
        with monkeypatch.context() as patched:  # the pools keep this clock
            patched.setattr(time, "monotonic", lambda: now[0])
            pool = Pool([bad, good], timeout=DEADLINE, backoff=LONG)
            async_pool = AsyncPool([bad, good], timeout=DEADLINE, backoff=LONG)
        with ExitStack() as late, pool:
            for _ in range(5):
                assert pool.request(b"") == b"a"
            assert states(pool) == [False, True]
            now[0] += 51
            late.enter_context(servers(engine, b"b", bind=bad))
            assert {pool.request(b"") for _ in range(5)} == {b"a", b"b"}
            assert states(pool) == [True, True]
        with ExitStack() as late:
            run(test())


def test_a_server_that_closes_at_once_fails_and_the_request_is_not_sent_twice(run: Run) -> None:
    def take(sock: socket.socket) -> None:
        read(sock, 1)

    async def test() -> None:
        with peer_that(take) as bad, peer_that(echo) as good:
            async with AsyncPool([bad, good], backoff=LONG) as pool:
                with pytest.raises(epollo.ConnectionClosed):
                    await pool.request(b"1")
                assert [await pool.request(b"2") for _ in range(3)] == [b"2"] * 3
        with peer_that(take) as bad, peer_that(echo) as good:
            async with AsyncPool([bad, good], backoff=LONG) as pool:
                assert await pool.request(b"1", idempotent=True) == b"1"

    run(test())
    with peer_that(take) as bad, peer_that(echo) as good, Pool([bad, good], backoff=LONG) as pool:
        with pytest.raises(epollo.ConnectionClosed):
            pool.request(b"1")
        assert [pool.request(b"2") for _ in range(3)] == [b"2"] * 3
    with peer_that(take) as bad, peer_that(echo) as good, Pool([bad, good], backoff=LONG) as pool:
        assert pool.request(b"1", idempotent=True) == b"1"


def test_an_address_that_does_not_reply_in_time_is_left_out(run: Run) -> None:
    async def test() -> None:
        with peer_that(silent) as bad, peer_that(echo) as good:
            async with AsyncPool([bad, good], backoff=LONG) as pool:
                with pytest.raises(epollo.ClientTimeout):
                    await pool.request(b"1", timeout=SOON)
                assert [await pool.request(b"2") for _ in range(3)] == [b"2"] * 3

    run(test())
    with peer_that(silent) as bad, peer_that(echo) as good, Pool([bad, good], backoff=LONG) as pool:
        with pytest.raises(epollo.ClientTimeout):
            pool.request(b"1", timeout=SOON)
        assert [pool.request(b"2") for _ in range(3)] == [b"2"] * 3


def test_no_address_that_works_is_a_connect_error_that_names_them(run: Run) -> None:
    async def test() -> None:
        async with AsyncPool([first, second], backoff=LONG) as pool:
            for _ in range(2):
                with pytest.raises(epollo.ConnectError, match=text) as caught:
                    await pool.request(b"")
                assert "\n" not in str(caught.value)

    with unused() as first, unused() as second:
        text = f"{first}: connection refused.*{second}.*next attempt may be made in [45].* s"
        with Pool([first, second], backoff=LONG) as pool:
            for _ in range(2):
                with pytest.raises(epollo.ConnectError, match=text):
                    pool.request(b"")
        run(test())


def test_attempts_bound_what_one_call_tries(run: Run) -> None:
    backoff = Backoff(first=0.001, most=0.001, attempts=3)

    async def test() -> None:
        async with AsyncPool([nobody], backoff=backoff, timeout=None) as pool:
            with pytest.raises(epollo.ConnectError, match="nothing listens there"):
                await pool.request(b"")

    with unused() as nobody:
        with (
            Pool([nobody], backoff=backoff, timeout=None) as pool,
            pytest.raises(epollo.ConnectError, match="nothing listens there"),
        ):
            pool.request(b"")
        run(test())


def test_an_address_that_becomes_ready_meanwhile_is_tried(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wait is over between two looks at the clock."""
    backoff = Backoff(first=1, most=1, attempts=3, jitter=0)
    times = count()
    clock = SimpleNamespace(monotonic=lambda: next(times) * 0.6)
    monkeypatch.setattr(asynchronous_pool, "time", clock)

    async def test() -> None:
        async with AsyncPool([nobody], backoff=backoff, timeout=None) as pool:
            with pytest.raises(epollo.ConnectError, match="nothing listens there"):
                await pool.request(b"")

    with unused() as nobody:
        run(test())


def test_a_server_that_comes_again_is_used_again(engine: Engine, run: Run) -> None:
    async def test(where: str) -> None:
        async with AsyncPool([where], backoff=SHORT, timeout=DEADLINE) as pool:
            for _ in range(3):
                with servers(engine, b"again", bind=where):
                    assert await pool.request(b"", idempotent=True) == b"again"

    with servers(engine, b"a") as (_, [where]):
        pool = Pool([where], backoff=SHORT, timeout=DEADLINE)
        assert pool.request(b"") == b"a"
    with pool:
        for _ in range(3):
            with servers(engine, b"again", bind=where):
                assert pool.request(b"") == b"again"
    run(test(where))


def test_a_connection_more_that_cannot_be_made_fails_no_request(run: Run) -> None:
    async def test() -> None:
        async with AsyncPool([where], timeout=DEADLINE) as pool:
            assert await pool.request(b"first") == b"first"
            listening.set()  # from now on the peer accepts no connection
            assert stopped.wait(DEADLINE)
            replies = await asyncio.gather(*(pool.request(b"%d" % n) for n in range(5)))
            assert replies == [b"%d" % n for n in range(5)]

    listening, stopped = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    where = f"127.0.0.1:{listener.getsockname()[1]}"

    def serve() -> None:
        with listener.accept()[0] as sock:
            sock.settimeout(DEADLINE)
            sock.sendall(frame(read(sock, 1)[0]))
            assert listening.wait(DEADLINE)
            listener.close()
            stopped.set()
            echo(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    run(test())
    thread.join()


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(*addresses: str) -> None:
        async with AsyncPool(addresses, timeout=DEADLINE, backoff=LONG) as pool:
            assert await pool.request(b"1") == b"1"

    shorten_shares(monkeypatch)
    with full_listener() as (host, port), peer_that(echo, echo) as good:
        with Pool([f"{host}:{port}", good], timeout=DEADLINE, backoff=LONG) as pool:
            assert pool.request(b"1") == b"1"
        run(test(f"{host}:{port}", good))


# Borrowing, waiting and closing.


def test_a_client_is_borrowed_and_goes_back(engine: Engine) -> None:
    with servers(engine, b"a") as (_, addresses), Pool(addresses, connections=1) as pool:
        with pool.client() as client:
            assert client.request(b"1") == b"a"
            with pytest.raises(epollo.ClientTimeout, match="no connection of the pool became free"):
                pool.request(b"2", timeout=SOON)
        with pool.client() as again:
            assert again is client
            again.send(b"its reply is left")
        with pool.client() as other:
            assert other is not client
            assert other.request(b"3") == b"a"


def test_a_borrowed_client_that_has_ended_its_stream_does_not_go_back(engine: Engine) -> None:
    with servers(engine, b"a") as (_, addresses), Pool(addresses, connections=1) as pool:
        with pool.client() as client:
            assert client.request(b"1") == b"a"
            client.end()
        assert pool.request(b"2") == b"a"


def test_a_thread_that_waits_gets_the_connection_that_becomes_free() -> None:
    with peer_that(echo) as where, Pool([where], connections=1, timeout=DEADLINE) as pool:
        with pool.client():
            waiting = threading.Thread(target=lambda: pool.request(b"1"))
            waiting.start()
        waiting.join()


def test_the_thread_that_waits_longest_is_first() -> None:
    """Also if the thread that returns the connection wants it again at once."""
    order: list[bytes] = []

    def noting(sock: socket.socket) -> None:
        while messages := read(sock, 1):
            order.extend(messages)
            sock.sendall(frame(messages[0]))

    def waits(pool: Pool, message: bytes) -> threading.Thread:
        count = len(pool._waiting)
        thread = threading.Thread(target=pool.request, args=[message])
        thread.start()
        until(lambda: len(pool._waiting) > count)
        return thread

    with peer_that(noting) as where, Pool([where], connections=1, timeout=DEADLINE) as pool:
        with pool.client():
            threads = [waits(pool, b"%d" % number) for number in range(5)]
        assert pool.request(b"again") == b"again"
        for thread in threads:
            thread.join()
    assert order == [b"0", b"1", b"2", b"3", b"4", b"again"]


def test_a_thread_that_waits_no_longer_lets_the_next_in() -> None:
    raised: list[BaseException] = []

    def gives_up() -> None:
        try:
            pool.request(b"late", timeout=SOON)
        except epollo.ClientTimeout as error:
            raised.append(error)

    with peer_that(echo) as where, Pool([where], connections=1, timeout=DEADLINE) as pool:
        with pool.client():
            first = threading.Thread(target=gives_up)
            first.start()
            second = threading.Thread(target=lambda: pool.request(b"1"))
            second.start()
            first.join()
            until(lambda: len(pool._waiting) == 1)
        second.join()
        assert [each.healthy for each in pool._upstreams] == [True]
    assert "no connection of the pool became free" in str(raised[0])


def test_a_request_that_spent_its_time_waiting_does_not_fail_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acquire = Pool._acquire

    def late(pool: Pool, lease: Any, deadline: float | None) -> epollo.Client:
        client = acquire(pool, lease, deadline)
        lease.began += DEADLINE
        return client

    monkeypatch.setattr(Pool, "_acquire", late)
    with peer_that(silent) as where, Pool([where], backoff=LONG) as pool:
        with pytest.raises(epollo.ClientTimeout):
            pool.request(b"1", timeout=SOON)
        assert [each.healthy for each in pool._upstreams] == [True]


def test_a_close_is_bounded_and_wakes_who_waits(run: Run) -> None:
    raised: list[BaseException] = []

    def ask(pool: Pool) -> None:
        try:
            pool.request(b"", timeout=DEADLINE)
        except epollo.EpolloError as error:
            raised.append(error)

    arrived = threading.Event()

    def stuck(sock: socket.socket) -> None:
        read(sock, 1)
        arrived.set()
        silent(sock)

    with peer_that(stuck) as where:
        pool = Pool([where], connections=1, timeout=SOON)
        threads = [threading.Thread(target=ask, args=[pool]) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert arrived.wait(DEADLINE)
        pool.close()
        pool.close()
        for thread in threads:
            thread.join()
    assert [type(error) for error in raised] == [epollo.ConnectionClosed] * 3
    with pytest.raises(epollo.ConnectionClosed, match=r"pool of .* is closed"):
        pool.request(b"")

    async def test() -> None:
        arrived.clear()
        with peer_that(stuck) as where:
            pool = AsyncPool([where], connections=1)
            tasks = [asyncio.create_task(pool.request(b"")) for _ in range(3)]
            assert await asyncio.to_thread(arrived.wait, DEADLINE)
            await pool.close()
            await pool.close()
            for error in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(error, epollo.ConnectionClosed)
        with pytest.raises(epollo.ConnectionClosed, match=r"pool of .* is closed"):
            await pool.request(b"")

    run(test())


def test_a_forked_child_is_refused_and_leaves_the_connections_to_the_parent() -> None:
    with peer_that(echo) as where, Pool([where]) as pool:
        assert pool.request(b"before") == b"before"

        def child() -> None:
            with pytest.raises(epollo.UsageError, match="before a fork"):
                pool.request(b"child")
            pool.close()

        in_a_fork(child)
        assert pool.request(b"after") == b"after"


def test_tls_and_matched_replies(run: Run) -> None:
    async def test() -> None:
        async with AsyncPool(where, tls=trusting(), match="bytes(0,1)", connections=1) as pool:
            assert await asyncio.gather(*map(pool.request, [b"1", b"2"])) == [b"1", b"2"]

    act = encrypted(echo, server_context("127.0.0.1"))
    with peer_that(act, act) as where:
        run(test())
        with Pool(where, tls=trusting(), match="bytes(0,1)") as pool:
            assert pool.request(b"1") == b"1"
    with peer_that(act) as where, Pool(where, tls=trusting()) as pool:
        assert pool.request(b"1") == b"1"


def test_one_context_is_made_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(["127.0.0.1:1", "127.0.0.2:1"], tls=True)
    contexts = {id(each.arguments.endpoint.tls) for each in pool._upstreams}
    assert len(contexts) == 1
    assert {each.arguments.endpoint.server_hostname for each in pool._upstreams} == {
        "127.0.0.1",
        "127.0.0.2",
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"addresses": []}, "addresses: a pool needs at least one"),
        ({"addresses": ["nowhere"]}, "bad address 'nowhere'"),
        ({"addresses": [7]}, "bad address 7: write it as text"),
        ({"connections": 0}, "connections: 0 is not a number from 1 to"),
        ({"connections": 1.5}, r"connections: 1\.5 is not"),
        ({"backoff": 3}, "backoff: 3 is not a Backoff"),
        ({"timeout": float("nan")}, "timeout: nan is not a time"),
        ({"match": "x"}, "match: 'x' is not known"),
    ],
)
def test_invalid_arguments_are_usage_errors(arguments: dict[str, Any], text: str) -> None:
    for make in (Pool, AsyncPool):
        with pytest.raises(epollo.UsageError, match=text) as caught:
            make(**{"addresses": ["127.0.0.1:1"]} | arguments)
        assert "\n" not in str(caught.value)
    assert upstream.Upstreams is Upstreams


# Connections and requests of an AsyncPool that are given up.


def test_an_ended_connection_with_unsent_bytes_costs_a_request_no_time(run: Run) -> None:
    def ends(sock: socket.socket) -> None:
        assert sock.recv(4)
        sock.shutdown(socket.SHUT_WR)
        poller = select.poll()
        poller.register(sock, 0)
        assert poller.poll(DEADLINE * 1000)  # until the client has given it up

    async def test() -> None:
        pool = AsyncPool([where], connections=1, timeout=DEADLINE, max_frame=1 << 28, backoff=SHORT)
        async with pool:
            with pytest.raises(epollo.StreamEnded):
                await pool.request(bytes(100_000_000))
            assert await pool.request(b"x") == b"x"

    with peer_that(ends, echo) as where:
        run(test())


def test_requests_that_were_given_up_are_no_load(run: Run) -> None:
    def loses_the_first(sock: socket.socket) -> None:
        read(sock, 1)
        while messages := read(sock, 1):
            sock.sendall(frame(messages[0] + b"first"))

    async def test() -> None:
        pool = AsyncPool(
            [first, second],
            connections=1,
            timeout=DEADLINE,
            backoff=SHORT,
            match="bytes(0,4,stamp)",
        )
        async with pool:
            with pytest.raises(epollo.ClientTimeout):
                await pool.request(b"0000", timeout=SOON)
            while not pool._upstreams[0].ready:
                await asyncio.sleep(0.001)
            replies = Counter([(await pool.request(b"0000"))[4:] for _ in range(10)])
            assert min(replies[b"first"], replies[b""]) >= 4

    with peer_that(loses_the_first) as first, peer_that(echo) as second:
        run(test())


def test_one_request_tries_an_address_that_has_not_replied(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]

    async def test() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(time, "monotonic", lambda: now[0])
            pool = AsyncPool(
                [bad, good], connections=1, timeout=DEADLINE, backoff=LONG, match="bytes(0,4,stamp)"
            )
        async with pool:
            with pytest.raises(epollo.ClientTimeout):
                await pool.request(b"0000", timeout=SOON)
            for _ in range(3):
                now[0] += 51
                busy = [asyncio.create_task(pool.request(b"0000")) for _ in range(5)]
                done, waiting = await asyncio.wait(busy, return_when="FIRST_COMPLETED")
                while len(done) < 4:
                    more, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
                    done |= more
                [asking] = waiting
                asking.cancel()
                assert [task.result()[4:] for task in done] == [b""] * 4

    with peer_that(silent) as bad, peer_that(echo) as good:
        run(test())
