"""Both clients with replies that are matched to their requests by an identifier."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvloop

import epollo
from epollo import AsyncClient, Backoff, Client, Match
from epollo.client import outstanding
from epollo.client.asynchronous import connection as asynchronous_connection
from epollo.client.blocking import connection as blocking_connection
from tests.certificates import trusting
from tests.client.shuffling import SETTINGS, Shuffling, shuffle
from tests.client.support import SOON, Act, echo, encrypted, peer_that, read
from tests.engines import Engine
from tests.other_loops import Run
from tests.support import DEADLINE, frame

BY_ONE = "bytes(0,1)"

uvloop.new_event_loop().close()  # libuv keeps a pipe for signals once it has had a loop


@contextmanager
def client_of(*acts: Act, **settings: Any) -> Iterator[Client]:
    settings = {"match": BY_ONE, "timeout": DEADLINE, **settings}
    with peer_that(*acts) as where, epollo.connect(where, **settings) as client:
        yield client


@asynccontextmanager
async def async_client_of(*acts: Act, **settings: Any) -> AsyncIterator[AsyncClient]:
    settings = {"match": BY_ONE, "timeout": DEADLINE, **settings}
    with peer_that(*acts) as where:
        async with AsyncClient(where, **settings) as client:
            yield client


def reversing(count: int) -> Act:
    """Reply to ``count`` messages in the reverse order, after news that nobody asked for."""

    def act(sock: socket.socket) -> None:
        messages = read(sock, count)
        sock.sendall(frame(b"news"))
        sock.sendall(b"".join(frame(message.upper()) for message in reversed(messages)))
        echo(sock)

    return act


class Withheld:
    """A peer that withholds its reply to the first message until the test asks for it."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        [first] = read(sock, 1)
        assert self.go.wait(DEADLINE)
        sock.sendall(frame(first))
        echo(sock)


# Replies out of order.


def test_shuffled_replies_reach_their_askers(engine: Engine, run: Run) -> None:
    """20,000 here; `python -m tests.client.shuffling` asks a million times."""
    seen: dict[str, int] = {}

    async def test() -> None:
        seen.update(await shuffle(server.addresses[0], 20_000))

    handler = Shuffling()
    with engine.server(handler, **SETTINGS) as server:
        run(test())
    assert seen["replied"] == 20_000
    assert handler.aborted
    assert seen["CancelledError"]
    assert seen["pushed"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_requests_yield_in_their_own_order(secure: bool) -> None:
    act = encrypted(reversing(8)) if secure else reversing(8)
    with client_of(act, tls=trusting() if secure else None) as client:
        messages = [b"%d." % number for number in range(8)]
        assert list(client.requests(messages, window=8)) == messages
        assert client.receive() == b"news"
        assert client.request(b"x") == b"x"


def test_requests_of_the_engine_s_out_of_order_server(engine: Engine) -> None:
    with (
        engine.server(Shuffling(), **SETTINGS) as server,
        epollo.connect(server.addresses[0], match="bytes(0,4,stamp)") as client,
    ):
        for number, reply in enumerate(client.requests((b"    -%d" % n for n in range(5000)), 99)):
            assert reply[4:] == b"-%d" % number


def test_tasks_get_their_own_replies(run: Run) -> None:
    async def test() -> None:
        for act, tls in ((reversing(8), None), (encrypted(reversing(8)), trusting())):
            async with async_client_of(act, tls=tls) as client:
                messages = [b"%da" % number for number in range(8)]
                replies = await asyncio.gather(*map(client.request, messages))
                assert replies == [message.upper() for message in messages]
                assert await client.receive() == b"news"
                assert [each async for each in client.requests(messages, 8)] == messages

    run(test())


# Pushes.


def test_pushes_go_to_the_callback(run: Run) -> None:
    pushed: list[bytes] = []

    async def test() -> None:
        async with async_client_of(reversing(2), on_push=pushed.append) as client:
            replies = await asyncio.gather(*map(client.request, [b"1a", b"2a"]))
            assert replies == [b"1A", b"2A"]

    run(test())
    with client_of(reversing(2), on_push=pushed.append) as client:
        assert list(client.requests([b"1a", b"2a"])) == [b"1A", b"2A"]
    assert pushed == [b"news"] * 2


def test_a_callback_may_use_the_client_and_what_it_raises_is_raised() -> None:
    def pushed(message: bytes) -> None:
        assert client.request(b"?") == b"?"
        raise RuntimeError(message)

    with client_of(reversing(1), on_push=pushed) as client:
        with pytest.raises(RuntimeError, match="news"):
            client.request(b"1a")
        assert client.request(b"2") == b"2"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_a_callback_sends_is_never_inside_another_message(secure: bool) -> None:
    """The push comes while the kernel does not take the whole request."""
    large = b"1" + bytes(16 << 20)
    nested: list[bytes] = []

    def act(sock: socket.socket) -> None:
        sock.sendall(frame(b"news"))
        echo(sock)

    def pushed(message: bytes) -> None:
        nested.append(client.request(b"2 " + message))

    settings: dict[str, Any] = {"tls": trusting() if secure else None, "max_frame": 32 << 20}
    with client_of(encrypted(act) if secure else act, on_push=pushed, **settings) as client:
        assert client.request(large) == large
        assert nested == [b"2 news"]
        assert client.request(b"3") == b"3"


def test_pushes_before_a_failure_reach_the_callback() -> None:
    pushed: list[bytes] = []

    def act(sock: socket.socket) -> None:
        sock.sendall(frame(b"news"))
        sock.shutdown(socket.SHUT_WR)
        closed.wait(DEADLINE)

    closed = threading.Event()
    with client_of(act, on_push=pushed.append, max_frame=32 << 20) as client:
        with pytest.raises(epollo.StreamEnded):
            client.request(b"1" + bytes(16 << 20))
        assert pushed == [b"news"]
        closed.set()


def test_a_call_of_a_callback_changes_no_limit_of_the_call_that_reads() -> None:
    def act(sock: socket.socket) -> None:
        read(sock, 1)
        sock.sendall(frame(b"news"))
        echo(sock)

    def pushed(message: bytes) -> None:
        assert client.request(b"2", timeout=None) == b"2"

    with (
        client_of(act, on_push=pushed) as client,
        pytest.raises(epollo.ClientTimeout, match=r"in 0\.2 s"),
    ):
        client.request(b"1", timeout=SOON)


def test_a_callback_that_connects_again_ends_the_request_of_the_old_connection() -> None:
    def act(sock: socket.socket) -> None:
        read(sock, 1)
        sock.sendall(frame(b"news"))

    def pushed(message: bytes) -> None:
        while client.alive():
            pass
        assert client.request(b"2") == b"2"

    with client_of(act, echo, on_push=pushed, reconnect=True) as client:
        with pytest.raises(epollo.StreamEnded):
            client.request(b"1")
        assert client.request(b"3") == b"3"


def test_what_an_async_callback_raises_is_told_to_the_loop() -> None:
    told: list[dict[str, Any]] = []

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with async_client_of(reversing(1), on_push=lambda _: 1 / 0) as client:
            assert await client.request(b"1a") == b"1A"

    asyncio.run(test())
    [context] = told
    assert isinstance(context["exception"], ZeroDivisionError)
    assert "on_push of a client of 127.0.0.1" in context["message"]


# Timeouts.


def test_a_request_that_times_out_leaves_the_connection_and_its_late_reply_is_dropped() -> None:
    peer = Withheld()
    with client_of(peer) as client:
        with pytest.raises(epollo.ClientTimeout, match=r"no message from .* in 0\.2 s"):
            client.request(b"1 late", timeout=SOON)
        with pytest.raises(epollo.UsageError, match="b'1' is in use: its request was given up"):
            client.request(b"1 again")
        peer.go.set()
        assert client.request(b"2") == b"2"
        assert client.late_replies == 1
        assert client.request(b"1 again") == b"1 again"


def test_the_same_in_tasks_each_with_its_own_timeout(run: Run) -> None:
    async def test() -> None:
        peer = Withheld()
        async with async_client_of(peer) as client:
            patient = asyncio.create_task(client.request(b"0"))
            await asyncio.sleep(0)
            with pytest.raises(epollo.ClientTimeout, match="no reply from"):
                await client.request(b"1", timeout=SOON)
            cancelled = asyncio.create_task(client.request(b"2"))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            for taken in (b"1", b"2"):
                with pytest.raises(epollo.UsageError, match="its request was given up"):
                    await client.request(taken)
            peer.go.set()
            assert await patient == b"0"
            assert await client.request(b"3") == b"3"
            assert client.late_replies == 2
            assert await client.request(b"1") == b"1"

    run(test())


def test_requests_that_are_stopped_leave_the_connection() -> None:
    with client_of(echo) as client:
        replies = client.requests([b"1", b"2", b"3"])
        assert next(replies) == b"1"
        with pytest.raises(epollo.UsageError, match="still to come"):
            client.request(b"4")
        replies.close()  # type: ignore[attr-defined]
        assert client.request(b"4") == b"4"


def test_a_timeout_without_match_ends_the_connection(run: Run) -> None:
    async def test() -> None:
        peer = Withheld()
        async with async_client_of(peer, match=None) as client:
            with pytest.raises(epollo.ClientTimeout):
                await client.request(b"1", timeout=SOON)
            with pytest.raises(epollo.ConnectionClosed, match="a request had no reply"):
                await client.request(b"2")
            peer.go.set()

    run(test())
    peer = Withheld()
    with client_of(peer, match=None) as client:
        with pytest.raises(epollo.ClientTimeout):
            client.request(b"1", timeout=SOON)
        with pytest.raises(epollo.ConnectionClosed, match="a request had no reply"):
            client.request(b"2")
        peer.go.set()


def test_each_call_may_have_its_own_timeout(run: Run) -> None:
    go = threading.Event()

    def says_late(sock: socket.socket) -> None:
        for _ in range(2):
            assert go.wait(DEADLINE)
            sock.sendall(frame(b"late"))
        echo(sock)

    with client_of(says_late, match=None, timeout=None) as client:
        with pytest.raises(epollo.ClientTimeout, match=r"in 0\.2 s"):
            client.receive(timeout=SOON)
        go.set()
        assert [client.receive(timeout=DEADLINE), client.receive(timeout=None)] == [b"late"] * 2
        client.send(b"x", timeout=DEADLINE)
        assert client.receive() == b"x"
        assert list(client.requests([b"y"], timeout=DEADLINE)) == [b"y"]
        assert client.timeout is None

    async def test() -> None:
        async with async_client_of(says_late, match=None, timeout=None) as client:
            with pytest.raises(epollo.ClientTimeout, match=r"in 0\.2 s"):
                await client.receive(timeout=SOON)
            go.set()
            assert await client.receive(timeout=DEADLINE) == b"late"
            assert await client.receive(timeout=None) == b"late"
            await client.send(b"x", timeout=DEADLINE)
            assert await client.receive() == b"x"
            assert [each async for each in client.requests([b"y"], timeout=DEADLINE)] == [b"y"]

    go.clear()
    run(test())


# What is wrong with an identifier.


def test_an_identifier_in_flight_is_refused_and_nothing_is_sent(run: Run) -> None:
    async def test() -> None:
        async with async_client_of(echo) as client:
            first = asyncio.create_task(client.request(b"1"))
            await asyncio.sleep(0)
            with pytest.raises(epollo.UsageError, match="b'1' is in use: the request"):
                await client.request(b"1")
            with pytest.raises(epollo.UsageError, match="has no identifier to request by"):
                await client.request(b"")
            assert await first == b"1"
            replies = client.requests([b"2", b"3", b"3"])
            assert [await anext(replies), await anext(replies)] == [b"2", b"3"]
            with pytest.raises(epollo.UsageError, match="is in use"):
                await anext(replies)

    run(test())
    with client_of(echo) as client:
        with pytest.raises(epollo.UsageError, match="has no identifier to request by"):
            client.request(b"")
        requests = client.requests([b"2", b"3", b"3"])
        assert [next(requests), next(requests)] == [b"2", b"3"]
        with pytest.raises(epollo.UsageError, match="is in use"):
            next(requests)
        assert client.request(b"3") == b"3"


def fails_on_replies(message: bytes) -> bytes:
    return message[:1]


def no_digit(message: bytes) -> int:
    return int(message[1:])


def test_a_getter_that_fails_on_a_reply_ends_the_connection_and_says_so(run: Run) -> None:
    match = Match(fails_on_replies, no_digit)

    async def test() -> None:
        async with async_client_of(echo, match=match) as client:
            with pytest.raises(epollo.ConnectionClosed, match="match raised ValueError") as caught:
                await client.request(b"1 one")
            assert isinstance(caught.value.__cause__, ValueError)

    run(test())
    with client_of(echo, match=match) as client:
        with pytest.raises(epollo.ConnectionClosed, match="match raised ValueError") as caught:
            client.request(b"1 one")
        assert isinstance(caught.value.__cause__, ValueError)


def test_what_a_getter_raises_for_a_request_is_raised_and_nothing_is_sent(run: Run) -> None:
    match = Match(no_digit, lambda _: b"reply")

    async def test() -> None:
        async with async_client_of(echo, match=match) as client:
            with pytest.raises(ValueError, match="invalid literal"):
                await client.request(b"1 one")
            assert client.live

    run(test())
    with client_of(echo, match=match) as client:
        with pytest.raises(ValueError, match="invalid literal"):
            client.request(b"1 one")
        assert client.live


# Bounds, and reconnecting.


def test_a_server_that_owes_too_many_replies_is_given_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outstanding, "MAX_OVERDUE", 3)

    def reads(sock: socket.socket) -> None:
        read(sock, 9)

    async def test() -> None:
        async with async_client_of(reads) as client:
            for number in range(3):
                with pytest.raises(epollo.ClientTimeout):
                    await client.request(b"%d" % number, timeout=0.01)
            with pytest.raises(epollo.ConnectionClosed, match="were given up are missing"):
                await client.request(b"3")

    run(test())
    with client_of(reads) as client:
        for number in range(3):
            with pytest.raises(epollo.ClientTimeout):
                client.request(b"%d" % number, timeout=0.01)
        with pytest.raises(epollo.ConnectionClosed, match="were given up are missing"):
            client.request(b"3")


def test_messages_that_are_not_received_are_bounded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request has to read on for its reply, over all else that the server sends."""
    for module in (blocking_connection, asynchronous_connection):
        monkeypatch.setattr(module, "MAX_UNRECEIVED", 1 << 20)
    told: list[int] = []

    def floods(sock: socket.socket) -> None:
        read(sock, 1)
        try:
            for sent in range(1 << 12):
                told[-1:] = [sent]
                sock.sendall(frame(bytes(1 << 16)))
        except OSError:
            pass

    async def test() -> None:
        async with async_client_of(floods) as client:
            with pytest.raises(epollo.ConnectionClosed, match="messages without a request came"):
                await client.request(b"1")
            assert await client.receive() == bytes(1 << 16)

    run(test())
    with client_of(floods) as client:
        with pytest.raises(epollo.ConnectionClosed, match="messages without a request came"):
            client.request(b"1")
        assert client.receive() == bytes(1 << 16)
    assert told[0] < 1 << 11


def test_requests_that_were_given_up_do_not_keep_the_client_reading(run: Run) -> None:
    go_on = threading.Event()

    def floods(sock: socket.socket) -> None:
        read(sock, 1)
        assert go_on.wait(DEADLINE)
        try:
            for _ in range(1 << 12):
                sock.sendall(frame(bytes(1 << 16)))
        except OSError:
            pass

    async def test() -> None:
        async with async_client_of(floods) as client:
            with pytest.raises(epollo.ClientTimeout):
                await client.request(b"1", timeout=0.01)
            go_on.set()
            assert client._connection is not None
            while client._connection._reading:
                assert client.live
                await asyncio.sleep(0.001)
            assert await client.receive() == bytes(1 << 16)
            client.abort()

    run(test())


def test_identifiers_are_free_on_a_new_connection(run: Run) -> None:
    def take(sock: socket.socket) -> None:
        read(sock, 1)

    settings: dict[str, Any] = {"reconnect": Backoff(first=0.001, most=0.001)}

    async def test() -> None:
        async with async_client_of(take, echo, **settings) as client:
            assert await client.request(b"1", idempotent=True) == b"1"

    run(test())
    with client_of(take, echo, **settings) as client:
        assert client.request(b"1", idempotent=True) == b"1"
        assert client.request(bytearray(b"1")) == b"1"


async def waits(message: bytes) -> bytes:
    return message


def test_invalid_arguments_are_setting_errors() -> None:
    for make in (epollo.connect, AsyncClient):
        for settings, text in (
            ({"match": 7}, "match: 7 is not known"),
            ({"on_push": print}, "on_push: needs match"),
            ({"match": BY_ONE, "on_push": 7}, "on_push: 7 is not a function"),
            ({"match": BY_ONE, "on_push": waits}, "on_push: .* is async; pass a plain function"),
            ({"match": waits}, "match: get=.* is async; pass a plain function"),
        ):
            arguments: dict[str, Any] = {"to": "127.0.0.1:1"} | settings
            with pytest.raises(epollo.SettingError, match=text):
                make(**arguments)
