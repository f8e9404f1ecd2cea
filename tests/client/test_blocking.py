"""The blocking client: requests, iteration, and a clear error for each way a connection ends."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import epollo
from epollo import Backoff, Client, Connection, address
from tests.certificates import authority, server_context, trusting
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
from tests.support import DEADLINE, Recorder, frame, unacknowledged, until, unused

NO_WAIT = Backoff(first=0.001, most=0.001)


@contextmanager
def client_of(*acts: Act, **settings: Any) -> Iterator[Client]:
    """A client of a peer that does ``acts``; its timeout does not apply to connecting."""
    timeout = settings.pop("timeout", DEADLINE)
    with (
        peer_that(*acts) as where,
        epollo.connect(where, timeout=timeout and DEADLINE, **settings) as client,
    ):
        client.timeout = timeout
        yield client


@pytest.mark.parametrize("framing", FRAMINGS)
def test_request(engine: Engine, framing: str) -> None:
    with (
        engine.server(lambda message: message.upper(), framing=framing) as server,
        epollo.connect(server.addresses[0], framing=framing) as client,
    ):
        assert client.request(b"hello") == b"HELLO"


def test_messages_sent_ahead_are_answered_in_order(engine: Engine) -> None:
    with engine.server(Recorder()) as server, epollo.connect(server.addresses[0]) as client:
        requests = [b"%d" % number for number in range(1000)]
        for request in requests:
            client.send(request)
        client.end()
        assert list(client) == requests


@pytest.mark.parametrize("name", ENDS)
def test_each_way_a_connection_ends_is_an_error_of_its_own_behind_the_messages(name: str) -> None:
    end = ENDS[name]
    with client_of(end.act, framing=end.framing) as client:
        client.send(b"hello")
        assert client.receive() == b"first"
        first_received.set()
        for _ in range(2):
            with pytest.raises(end.error, match=end.text) as caught:
                client.receive()
            assert "\n" not in str(caught.value)
        with pytest.raises(end.error, match=end.text):
            client.request(b"more")


def test_no_message_is_a_timeout_and_a_later_one_is_not_lost() -> None:
    late = threading.Event()

    def answer_late(sock: socket.socket) -> None:
        assert late.wait(DEADLINE)
        sock.sendall(frame(b"late"))

    with client_of(answer_late, timeout=SOON) as client:
        with pytest.raises(epollo.ClientTimeout, match=r"no message from .* in 0\.2 s"):
            client.receive()
        late.set()
        client.timeout = DEADLINE
        assert client.receive() == b"late"


def test_trickled_bytes_do_not_extend_the_timeout() -> None:
    def trickle(sock: socket.socket) -> None:
        try:
            while not gone.wait(0.02):
                sock.sendall(b"x")  # of a line that never ends
        except ConnectionError:
            pass

    gone = threading.Event()
    with client_of(trickle, framing="line", timeout=SOON) as client:
        with pytest.raises(epollo.ClientTimeout):
            client.receive()
        gone.set()


def test_a_peer_that_does_not_read_is_a_timeout_and_closes_the_connection() -> None:
    closed = threading.Event()
    with client_of(lambda _: closed.wait(DEADLINE), max_frame=1 << 28, timeout=SOON) as client:
        with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
            client.send(bytes(100_000_000))
        closed.set()
        with pytest.raises(epollo.ConnectionClosed, match="closed: a message was not taken"):
            client.send(b"more")


def test_a_request_without_reply_closes_the_connection() -> None:
    with client_of(silent, timeout=SOON) as client:
        with pytest.raises(epollo.ClientTimeout):
            client.request(b"first")
        for call in (client.receive, lambda: client.request(b"second"), client.end):
            with pytest.raises(epollo.ConnectionClosed, match="closed: a request had no reply"):
                call()


def test_a_message_that_cannot_be_sent_leaves_the_connection_usable(engine: Engine) -> None:
    with (
        engine.server(Recorder(), framing="u8") as server,
        epollo.connect(server.addresses[0], framing="u8") as client,
    ):
        for call in (client.send, client.request):
            with pytest.raises(epollo.EncodeError):
                call(bytes(256))
        assert client.request(b"fine") == b"fine"


def test_a_closed_client_says_so() -> None:
    with client_of(silent, reconnect=True) as client:
        client.close()
        client.close()
        for call in (client.receive, lambda: client.request(b""), lambda: client.send(b"")):
            with pytest.raises(epollo.ConnectionClosed, match="closed here"):
                call()


def test_nothing_listening_is_connect_error() -> None:
    with unused() as nobody:
        for reconnect in (False, True):  # the first connection is tried once
            with pytest.raises(epollo.ConnectError, match=f"cannot connect to {nobody}: "):
                epollo.connect(nobody, reconnect=reconnect)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with support.full_listener() as full, peer_that(echo) as where:
        good = ("127.0.0.1", address.parse(where).port)
        monkeypatch.setattr(socket, "getaddrinfo", resolving(full, good))
        support.shorten_shares(monkeypatch)
        with epollo.connect("several.example:80", timeout=DEADLINE) as client:
            assert client.request(b"hello") == b"hello"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"timeout": 0}, "timeout: 0 is not a time over 0 s"),
        ({"timeout": "5s"}, "timeout: '5s' is not a time over 0 s"),
        ({"max_frame": "1MiB"}, "max_frame: '1MiB' is not a number of bytes"),
        ({"tls": "yes"}, "tls: 'yes' is neither"),
        ({"server_hostname": "a"}, "server_hostname: needs TLS"),
        ({"to": "unix:/nowhere", "tls": True}, "server_hostname: unix:/nowhere has no host"),
    ],
)
def test_invalid_arguments_are_setting_errors(arguments: dict[str, Any], text: str) -> None:
    arguments = {"to": "127.0.0.1:1"} | arguments
    for make in (epollo.connect, epollo.AsyncClient):
        with pytest.raises(epollo.SettingError, match=text):
            make(**arguments)


def test_an_unknown_argument_is_a_type_error() -> None:
    arguments: dict[str, Any] = {"to": "127.0.0.1:1", "tsl": True}
    for make in (epollo.connect, epollo.AsyncClient):
        with pytest.raises(TypeError, match="unexpected keyword argument 'tsl'"):
            make(**arguments)


def test_a_descriptor_is_nothing_to_connect_to() -> None:
    for make in (epollo.connect, epollo.AsyncClient):
        with pytest.raises(epollo.AddressError, match="fd://3: a descriptor is for a server"):
            make("fd://3")


def test_an_interrupted_send_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown part of it is sent: the peer would take the next message as its rest."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with epollo.Server(bind="127.0.0.1:0") as server, epollo.connect(server.addresses[0]) as client:
        with monkeypatch.context() as patched:
            patched.setattr("epollo.client.blocking.transport.SyncTransport.send", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.send(b"hello")
        with pytest.raises(epollo.ConnectionClosed, match="a message was not sent whole"):
            client.send(b"again")


def test_a_request_reads_while_it_is_sent() -> None:
    """The server replies to the first half before it reads the second one."""
    half = 4 << 20  # bytes; more than the kernel takes

    def copies(sock: socket.socket) -> None:
        for _ in range(2):
            left = half
            while left:
                data = sock.recv(min(left, 1 << 16))
                sock.sendall(data)
                left -= len(data)

    for wrapped, tls in ((copies, None), (encrypted(copies), trusting())):
        for match in (None, "bytes(0,1)"):
            with client_of(
                wrapped, tls=tls, match=match, framing=f"fixed:{2 * half}", max_frame=4 * half
            ) as client:
                assert client.request(bytes(2 * half), timeout=DEADLINE) == bytes(2 * half)


def test_a_request_that_is_not_taken_says_so() -> None:
    closed = threading.Event()
    for match in (None, "bytes(0,1)"):
        closed.clear()
        with client_of(lambda _: closed.wait(DEADLINE), max_frame=1 << 28, match=match) as client:
            with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
                client.request(bytes(100_000_000), timeout=SOON)
            closed.set()
            with pytest.raises(epollo.ConnectionClosed, match="closed: a message was not taken"):
                client.request(b"more")


# Pipelined requests.


def test_replies_of_requests_come_in_order_with_at_most_a_window_ahead(engine: Engine) -> None:
    taken = 0

    def numbers() -> Iterator[bytes]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield b"%d" % number

    with engine.server(bytes.upper) as server, epollo.connect(server.addresses[0]) as client:
        for window in (1, 2, 7, 5000):
            taken = 0
            for number, reply in enumerate(client.requests(numbers(), window)):
                assert reply == b"%d" % number
                assert taken - number <= window
            assert taken == 1000
        assert list(client.requests([])) == []
        assert client.request(b"more") == b"MORE"


def test_requests_continue_when_replies_fill_every_buffer(engine: Engine) -> None:
    messages = [bytes([number]) * (256 << 10) for number in range(128)]
    with (
        engine.server(bytes.lower) as server,
        epollo.connect(server.addresses[0], timeout=DEADLINE) as client,
    ):
        assert list(client.requests(iter(messages), window=128)) == [m.lower() for m in messages]


def test_the_replies_before_the_end_are_yielded_then_the_error() -> None:
    def answers_two(sock: socket.socket) -> None:
        for message in read(sock, 3)[:2]:
            sock.sendall(frame(message))

    with client_of(answers_two) as client:
        replies = client.requests([b"%d" % number for number in range(3)])
        assert [next(replies), next(replies)] == [b"0", b"1"]
        with pytest.raises(epollo.StreamEnded):
            next(replies)


def test_the_replies_that_came_before_sending_failed_are_yielded_then_the_error() -> None:
    failed = threading.Event()

    def answers_late(sock: socket.socket) -> None:
        first, second = read(sock, 2)
        sock.sendall(frame(first))
        assert failed.wait(DEADLINE)
        sock.sendall(frame(second))

    def messages() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        client.end()  # so that the next send fails, as after the peer's end
        failed.set()
        yield b"three"

    with client_of(answers_late) as client:
        replies = client.requests(messages(), window=2)
        assert [next(replies), next(replies)] == [b"one", b"two"]
        with pytest.raises(epollo.ConnectionClosed, match="broken pipe"):
            next(replies)


def test_the_replies_before_a_message_that_cannot_be_sent_are_yielded_then_the_error(
    engine: Engine,
) -> None:
    with (
        engine.server(bytes.upper, framing="u8") as server,
        epollo.connect(server.addresses[0], framing="u8") as client,
    ):
        replies = client.requests([b"a", b"b", bytes(256), b"c"])
        assert [next(replies), next(replies)] == [b"A", b"B"]
        with pytest.raises(epollo.EncodeError):
            next(replies)
        assert client.request(b"fine") == b"FINE"


def test_replies_not_taken_never_reach_later_requests(engine: Engine) -> None:
    with (
        engine.server(bytes.upper) as server,
        epollo.connect(server.addresses[0]) as client,
        epollo.connect(server.addresses[0], reconnect=True) as returning,
    ):
        for each in (client, returning):
            replies = each.requests([b"a", b"b", b"c"])
            assert next(replies) == b"A"
            with pytest.raises(epollo.UsageError, match="still to come"):
                each.request(b"between")
            replies.close()  # type: ignore[attr-defined]
        with pytest.raises(epollo.ConnectionClosed, match="not all replies"):
            client.request(b"behind")
        assert returning.request(b"anew") == b"ANEW"


@pytest.mark.parametrize("match", [None, "bytes(0,2)"])
def test_a_reply_before_the_end_of_its_message_leaves_nothing_unsent(match: str | None) -> None:
    """What is sent next would be taken for the rest of that message."""
    large = b"id" + bytes(16 << 20)

    def answers_early(sock: socket.socket) -> None:
        assert sock.recv(6, socket.MSG_WAITALL) == frame(large)[:6]
        sock.sendall(frame(b"id early"))
        left = len(large) - 2
        while left:
            left -= len(sock.recv(min(left, 1 << 20)))
        echo(sock)

    with client_of(answers_early, match=match, timeout=DEADLINE, max_frame=1 << 30) as client:
        assert list(client.requests([large])) == [b"id early"]
        assert client.request(b"id next") == b"id next"


def test_closing_behind_the_last_reply_keeps_the_connection(engine: Engine) -> None:
    with engine.server(bytes.upper) as server, epollo.connect(server.addresses[0]) as client:
        for count in (1, 2, 3):
            replies = client.requests([b"a", b"b", b"c"][:count])
            assert [next(replies) for _ in range(count)] == [b"A", b"B", b"C"][:count]
            replies.close()  # type: ignore[attr-defined]
            assert client.request(b"more") == b"MORE"


def test_a_window_of_nothing_is_a_usage_error() -> None:
    with client_of(silent) as client, pytest.raises(epollo.UsageError, match="window=0"):
        client.requests([b""], window=0)


# Reconnecting.


@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix"])
def test_a_server_that_comes_again_is_connected_anew(
    engine: Engine, where: str, tmp_path: Path
) -> None:
    bind = where.replace("unix", f"unix:{tmp_path / 'server'}")
    with engine.server(bytes.upper, bind=bind) as server:
        bind = server.addresses[0]
        client = epollo.connect(bind, reconnect=True)
        other = epollo.connect(bind)
        assert client.request(b"before") == b"BEFORE"
    with engine.server(bytes.lower, bind=bind), client, other:
        assert client.request(b"AFTER") == b"after"  # closed before a byte was sent: no error
        with pytest.raises(epollo.ConnectionClosed):
            other.request(b"AFTER")


def test_a_message_that_may_have_arrived_is_not_sent_twice() -> None:
    seen: list[list[bytes]] = []

    def take(sock: socket.socket) -> None:
        seen.append(read(sock, 1))

    def answer(sock: socket.socket) -> None:
        take(sock)
        sock.sendall(frame(b"reply"))

    with client_of(take, answer, reconnect=NO_WAIT) as client:
        with pytest.raises(epollo.ConnectionClosed):
            client.request(b"one")
        assert client.request(b"two") == b"reply"
    assert seen == [[b"one"], [b"two"]]


def test_an_idempotent_request_is_sent_once_more_and_no_more() -> None:
    with client_of(support.reset, echo, reconnect=NO_WAIT) as client:
        assert client.request(b"again", idempotent=True) == b"again"
    with (
        client_of(support.reset, support.reset, reconnect=NO_WAIT) as client,
        pytest.raises(epollo.ConnectionClosed),
    ):
        client.request(b"again", idempotent=True)
    with client_of(support.reset) as client, pytest.raises(epollo.ConnectionClosed):
        client.request(b"once", idempotent=True)


def test_a_late_reply_stays_behind_on_the_old_connection() -> None:
    with client_of(silent, echo, timeout=SOON, reconnect=True) as client:
        with pytest.raises(epollo.ClientTimeout):
            client.request(b"first")
        client.timeout = DEADLINE
        assert client.request(b"second") == b"second"


def test_it_tries_until_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    server: list[epollo.Server] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:  # so that three attempts fail
            server.append(epollo.Server(bytes.upper, where))
            server[0].__enter__()

    with peer_that(lambda _: None) as where:
        client = epollo.connect(where, reconnect=Backoff(first=1, most=2, jitter=0), timeout=60)
    with monkeypatch.context() as patch, client:
        patch.setattr(time, "sleep", sleep)
        assert client.request(b"back") == b"BACK"
    server[0].__exit__(None, None, None)
    assert waits == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff(first=1, most=1, jitter=0, attempts=3), [0, 1, 1]),
        (Backoff(first=100, most=100, jitter=0), [0]),  # longer than the timeout, so not started
    ],
)
def test_the_attempts_to_reconnect_are_bounded(
    monkeypatch: pytest.MonkeyPatch, backoff: Backoff, expected: list[float]
) -> None:
    waits: list[float] = []
    with peer_that(lambda _: None) as where:
        client = epollo.connect(where, reconnect=backoff, timeout=60)
    monkeypatch.setattr(time, "sleep", waits.append)
    with client, pytest.raises(epollo.ConnectError, match="nothing listens there"):
        client.request(b"")
    assert waits == expected


# TLS.


def test_tls(engine: Engine) -> None:
    big = bytes(range(256)) * 4000
    with client_of(encrypted(echo), tls=trusting(), max_frame=1 << 21) as client:
        assert client.request(b"hello") == b"hello"
        assert client.request(big) == big
        assert list(client.requests([big] * 8)) == [big] * 8
        with pytest.raises(epollo.UsageError, match="half-close"):
            client.end()


def test_no_timeout_waits_for_ever() -> None:
    for act, tls in ((echo, None), (encrypted(echo), trusting())):
        with client_of(act, tls=tls, timeout=None, reconnect=True) as client:
            assert client.request(b"hello") == b"hello"
            assert list(client.requests([b"more"])) == [b"more"]


def test_tls_by_the_system_s_trust_and_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", trusting_once(ssl.create_default_context))
    act = encrypted(echo, server_context("epollo.example"))
    with client_of(act, tls=True, server_hostname="epollo.example") as client:
        assert client.request(b"hello") == b"hello"


def trusting_once(create: Any) -> Any:
    def make(*arguments: Any) -> ssl.SSLContext:
        context = create(*arguments)
        assert isinstance(context, ssl.SSLContext)
        authority().configure_trust(context)
        return context

    return make


@pytest.mark.parametrize(
    ("act", "trust", "text"),
    [
        (encrypted(echo), False, r"certificate of 127\.0\.0\.1 is not trusted: .*local issuer"),
        (
            encrypted(echo, server_context("other.example")),
            True,
            r"certificate of 127\.0\.0\.1 is not trusted: .*mismatch.*server_hostname",
        ),
        (says(b"220 hello\r\n" * 9), True, "the server does not speak TLS; connect without tls"),
        (lambda _: None, True, "broke off the TLS handshake; perhaps it does not speak TLS"),
        (silent, True, "no TLS handshake in time; perhaps"),
    ],
    ids=["untrusted", "other name", "plain", "closes", "silent"],
)
def test_each_way_a_handshake_fails_is_one_line(act: Act, trust: bool, text: str) -> None:
    context = trusting() if trust else ssl.create_default_context()
    timeout = SOON if act is silent else DEADLINE
    with peer_that(act) as where:
        with pytest.raises(epollo.TLSHandshakeError, match=text) as caught:
            epollo.connect(where, tls=context, timeout=timeout)
        assert str(caught.value).startswith(f"cannot connect to {where}: ")
        assert "\n" not in str(caught.value)


def test_tls_to_a_plain_server(engine: Engine) -> None:
    with (
        engine.server(Recorder()) as server,
        pytest.raises(epollo.TLSHandshakeError, match="does not speak TLS"),
    ):
        epollo.connect(server.addresses[0], tls=trusting())


def test_tls_without_close_notify_is_not_a_clean_end() -> None:
    def cut(sock: socket.socket) -> None:
        with server_context().wrap_socket(sock, server_side=True) as inner:
            inner.sendall(frame(b"first"))

    for act, error in ((encrypted(says(frame(b"first"))), epollo.StreamEnded), (cut, None)):
        with client_of(act, tls=trusting()) as client:
            assert client.receive() == b"first"
            with pytest.raises(error or epollo.ConnectionClosed) as caught:
                client.receive()
            assert ("close_notify" in str(caught.value)) is (error is None)
            assert isinstance(caught.value, epollo.StreamEnded) is (error is not None)


def test_sent_messages_arrive_after_a_tls_close() -> None:
    arrived: list[bytes] = []
    with client_of(encrypted(lambda sock: arrived.extend(read(sock, 9))), tls=trusting()) as client:
        for number in range(9):
            client.send(bytes([number]) * 100_000)
    assert arrived == [bytes([number]) * 100_000 for number in range(9)]


def test_tls_reconnects() -> None:
    with client_of(
        encrypted(lambda sock: read(sock, 1)), encrypted(echo), tls=trusting(), reconnect=NO_WAIT
    ) as client:
        with pytest.raises(epollo.ConnectionClosed):
            client.request(b"one")
        assert client.request(b"two") == b"two"


# Ends that lose nothing.


def test_a_client_is_never_connected_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        support.dead_port(monkeypatch) as where,
        pytest.raises(epollo.ConnectError, match="nothing listens there"),
        epollo.connect(where, timeout=SOON) as client,
    ):
        client.request(b"who are you?")


@pytest.mark.parametrize(
    ("kind", "unread"),
    [("tcp", False), ("tcp", True), ("tls", False), ("tls", True), ("unix", True)],
)
def test_sent_messages_arrive_after_a_close_with_unread_replies(
    engine: Engine, tmp_path: Path, kind: str, unread: bool
) -> None:
    handler = support.Holding()
    tls = server_context() if kind == "tls" else None
    trust = trusting() if kind == "tls" else None
    count = 6 if kind == "unix" else 64  # a Unix socket takes about 200 KiB
    bind = f"unix:{tmp_path / 'server'}" if kind == "unix" else "127.0.0.1:0"
    with engine.server(handler, tls=tls, slow_handler=0, bind=bind) as server:
        client = epollo.connect(server.addresses[0], tls=trust, timeout=DEADLINE)
        with epollo.connect(server.addresses[0], tls=trust) as other:
            if unread:
                client.send(b"first")
                for _ in range(2):  # iterations of the server's loop
                    other.request(b"turn")
        assert handler.ended.wait(DEADLINE)
        handler.ended.clear()
        client.send(b"hold")
        assert handler.held.wait(DEADLINE)
        for _ in range(count):
            client.send(bytes(16 << 10))  # in all more than the server's kernel takes
        closing = threading.Thread(target=client.close)
        closing.start()
        closing.join(0.1)  # returns early only if it does not wait for the server
        handler.go_on.set()
        closing.join()
        assert handler.ended.wait(DEADLINE)
    assert handler.count == count


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_last_message_of_a_server_is_received_though_a_send_fails(secure: bool) -> None:
    said = threading.Event()
    act = support.last_word(said, secure)
    with client_of(act, tls=trusting() if secure else None) as client:
        client.send(b"hello")
        assert said.wait(DEADLINE)
        with pytest.raises(epollo.ConnectionClosed):
            send_on(client)
        assert client.receive() == b"last word"


def send_on(client: Client) -> None:
    for _ in range(1000):
        client.send(bytes(1000))


class Late(Exception):
    """Raised by a signal handler."""


@contextmanager
def interrupted_after(*calls: str) -> Iterator[None]:
    """Raise Late when one of these C functions returns: there Python may call a signal handler that
    raises."""

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called.__name__ in calls:
            raise Late

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_interrupted_receive_loses_no_message_in_silence(secure: bool) -> None:
    """The message is received later, or the client is closed and raises that."""
    interrupted = threading.Event()

    def send_two(sock: socket.socket) -> None:
        sock.sendall(frame(b"first"))
        assert interrupted.wait(DEADLINE)
        sock.sendall(frame(b"second"))

    act = encrypted(send_two) if secure else send_two
    with client_of(act, tls=trusting() if secure else None) as client:
        calls = ["read"] if secure else ["recv", "recv_into", "recvmsg"]
        with pytest.raises(Late), interrupted_after(*calls):
            client.receive()
        interrupted.set()
        try:
            assert client.receive() == b"first"
        except epollo.ConnectionClosed:
            pass


def test_a_server_that_closes_at_once_is_not_connected_to_without_waits(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    waits: list[float] = []
    backoff = Backoff(first=0.1, most=1, jitter=0)
    with epollo.Server(bind="127.0.0.1:0", max_connections=1) as server:
        where = server.addresses[0]
        with epollo.connect(where) as first:
            assert first.request(b"the only one") == b"the only one"
            with (
                monkeypatch.context() as patched,
                epollo.connect(where, reconnect=backoff, timeout=60) as client,
            ):
                patched.setattr(time, "sleep", waits.append)
                for _ in range(20):
                    with pytest.raises(epollo.EpolloError):
                        client.request(b"hello", idempotent=True)
    log.take()
    assert sum(waits) > 5


@pytest.mark.parametrize(
    ("host", "issued"), [("[fe80::77%lo]", "fe80::77"), ("epollo.example.", "epollo.example")]
)
def test_a_certificate_is_for_the_host_without_its_zone_or_last_dot(
    monkeypatch: pytest.MonkeyPatch, host: str, issued: str
) -> None:
    with peer_that(encrypted(echo, server_context(issued))) as where:
        server = address.parse(where)
        monkeypatch.setattr(socket, "getaddrinfo", resolving((server.host, server.port)))
        with epollo.connect(f"{host}:{server.port}", tls=trusting()) as client:
            assert client.request(b"hello") == b"hello"


@pytest.mark.parametrize("timeout", [2e9, 1e300, float("inf")])
def test_a_timeout_of_ages_is_kept(timeout: float) -> None:
    with (
        epollo.Server(bind="127.0.0.1:0") as server,
        epollo.connect(server.addresses[0], timeout=timeout) as client,
    ):
        assert client.request(b"hello") == b"hello"


def test_the_kernel_holds_nothing_of_a_connection_that_was_given_up() -> None:
    closed = threading.Event()
    ends: list[tuple[str, int]] = []

    def take_nothing(sock: socket.socket) -> None:
        ends.extend([sock.getpeername(), sock.getsockname()])
        assert closed.wait(DEADLINE)

    with client_of(take_nothing, max_frame=1 << 28, timeout=SOON) as client:
        until(lambda: len(ends) == 2)
        with pytest.raises(epollo.ClientTimeout, match="did not take the message"):
            client.send(bytes(16 << 20))
        held = unacknowledged(*ends)
        closed.set()
    assert held == 0


def test_a_message_of_the_servers_own_is_not_taken_for_a_reply() -> None:
    """``match`` returns the identifier that a request and its reply share."""

    class Pushing:
        def received(self, message: bytes, connection: Connection) -> bytes:
            connection.send(b"0 news")
            return message

    settings: dict[str, Any] = {"match": lambda message: message.partition(b" ")[0]}
    with (
        epollo.Server(Pushing(), "127.0.0.1:0") as server,
        epollo.connect(server.addresses[0], **settings) as client,
    ):
        assert client.request(b"1 hello") == b"1 hello"
