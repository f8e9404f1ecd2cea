"""Phases in both clients: another framing, or TLS, from one reply on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

import epollo
from epollo import Connection, FrameCorrupt, Server, address
from epollo.client import AsyncClient, Client
from epollo.errors import PhaseError, TLSHandshakeError
from epollo.framing import Buffer, Decoder, Framing
from tests.certificates import server_context, trusting
from tests.engines import Engine
from tests.support import DEADLINE, frame


def handle(message: bytes, connection: Connection) -> bytes | None:
    if message == b"starttls":
        connection.send(b"ready")
        connection.start_tls(server_context())
        return None
    if message.startswith(b"to "):
        connection.send(b"ok")
        connection.framing = message[3:].decode()
        connection.send(b"first")
        return b"second"
    return message if connection.tls is None else b"tls:" + message


@pytest.fixture
def server(engine: Engine) -> Iterator[Server]:
    with engine.server(handle) as server:
        yield server


class Blocking:
    """A client, used by one test for both kinds: the blocking one."""

    def __init__(self, to: str, **options: Any) -> None:
        self.client: Any = epollo.connect(to, timeout=DEADLINE, **options)

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.client, name)(*arguments, **options)

    def reframe(self, framing: Any) -> None:
        self.client.framing = framing

    def close(self) -> None:
        self.client.close()


class Awaited(Blocking):
    """The one on asyncio."""

    def __init__(self, to: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self._run(lambda: AsyncClient.connect(to, timeout=DEADLINE, **options))

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        return self._run(lambda: getattr(self.client, name)(*arguments, **options))

    def _run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await call()

        return self._runner.run(run())

    def reframe(self, framing: Any) -> None:
        async def run() -> None:
            self.client.framing = framing

        self._runner.run(run())

    def close(self) -> None:
        self.call("close")
        self._runner.close()


KINDS = pytest.mark.parametrize("kind", [Blocking, Awaited])


@contextmanager
def client(kind: Any, to: str, **options: Any) -> Iterator[Any]:
    client = kind(to, **options)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A peer that sends one of ``answers`` for each read, then waits for the end."""

    def answer() -> None:
        with listener.accept()[0] as sock:
            for each in answers:
                sock.recv(100)
                sock.sendall(each)
            while sock.recv(100):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer)
        thread.start()
        yield str(address.of(listener.getsockname()))
        thread.join()


@KINDS
def test_the_framing_changes_behind_a_reply(server: Server, kind: Any) -> None:
    with client(kind, server.addresses[0]) as it:
        assert it.call("request", b"to line") == b"ok"
        it.reframe("line")
        assert it.client.framing.name == "line"
        assert [it.call("receive"), it.call("receive")] == [b"first", b"second"]
        assert it.call("request", b"again") == b"again"


@KINDS
@pytest.mark.parametrize("split", range(1, 21))
def test_what_came_with_the_reply_is_decoded_anew(kind: Any, split: int) -> None:
    behind = b"first\nsecond\nhalf"
    stream = frame(b"ok") + behind
    with (
        answering(stream[: split + 6], stream[split + 6 :] + b"\n") as to,
        client(kind, to) as it,
    ):
        assert it.call("request", b"x") == b"ok"
        it.reframe("line")
        it.call("send", b"y")
        assert [it.call("receive") for _ in range(3)] == [b"first", b"second", b"half"]


@KINDS
def test_a_fault_of_the_framing_before_is_none(kind: Any) -> None:
    with answering(frame(b"ok") + b"\xff\xff\xff\xff\n") as to, client(kind, to) as it:
        assert it.call("request", b"x") == b"ok"
        it.reframe("line")
        assert it.call("receive") == b"\xff\xff\xff\xff"


@KINDS
def test_a_fault_of_the_new_one_is_one(kind: Any) -> None:
    with answering(frame(b"ok") + b"oh\0\0") as to, client(kind, to) as it:
        assert it.call("request", b"x") == b"ok"
        it.reframe("digits(size=4)")
        with pytest.raises(FrameCorrupt):
            it.call("receive")


@KINDS
def test_messages_that_were_not_taken(kind: Any) -> None:
    with answering(frame(b"ok"), frame(b"more") + frame(b"and")) as to, client(kind, to) as it:
        assert it.call("request", b"x") == b"ok"
        it.call("send", b"y")
        assert it.call("receive") == b"more"
        it.reframe("u32")
        assert it.call("receive") == b"and"


@KINDS
def test_tls_begins_behind_a_reply(server: Server, kind: Any) -> None:
    with client(kind, server.addresses[0]) as it:
        assert it.call("request", b"starttls") == b"ready"
        it.call("start_tls", trusting())
        assert it.call("request", b"secret") == b"tls:secret"
        with pytest.raises(PhaseError, match="has TLS already"):
            it.call("start_tls", trusting())
        assert it.call("request", b"still") == b"tls:still"


@KINDS
@pytest.mark.parametrize("behind", [frame(b"injected"), b"\0", b"\xff" * 5])
def test_nothing_plain_behind_the_reply_is_a_message(kind: Any, behind: bytes) -> None:
    with answering(frame(b"ready") + behind) as to, client(kind, to) as it:
        assert it.call("request", b"starttls") == b"ready"
        with pytest.raises((TLSHandshakeError, epollo.EpolloError)) as caught:
            it.call("start_tls", trusting())
        if behind != b"\xff" * 5:  # which the framing before has refused
            assert "more came in plain behind the reply" in str(caught.value)
        assert not it.client.live


class Untold(Framing):
    """Lines; its decoder does not tell what it holds."""

    def __init__(self) -> None:
        super().__init__("untold", 1000)

    def encode(self, message: Buffer) -> bytes:
        return bytes(message) + b"\n"

    def decoder(self) -> Any:
        class Lines(Decoder):
            held = b""

            def feed(self, data: Buffer) -> list[bytes]:
                *lines, self.held = (self.held + bytes(data)).split(b"\n")
                return lines

            def eof(self) -> None:
                pass

        return Lines()


@KINDS
def test_what_a_decoder_of_the_users_holds_is_not_taken_for_encrypted(kind: Any) -> None:
    def serve() -> None:
        with listener.accept()[0] as sock:
            sock.recv(100)
            sock.sendall(b"ready\nINJECTED")
            with server_context().wrap_socket(sock, server_side=True) as encrypted:
                encrypted.recv(100)
                encrypted.sendall(b"reply\n")
                encrypted.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        with client(kind, str(address.of(listener.getsockname())), framing=Untold()) as it:
            assert it.call("request", b"starttls") == b"ready"
            it.call("start_tls", trusting())
            assert it.call("request", b"x") == b"reply"
        thread.join()


@KINDS
def test_a_name_that_the_certificate_is_not_for(server: Server, kind: Any) -> None:
    with client(kind, server.addresses[0]) as it:
        assert it.call("request", b"starttls") == b"ready"
        with pytest.raises(
            TLSHandshakeError, match=r"certificate of other\.example is not trusted"
        ):
            it.call("start_tls", trusting(), server_hostname="other.example")
        with pytest.raises(epollo.ConnectionClosed):
            it.call("request", b"x")


@pytest.mark.parametrize("end", ["close", "abort"])
def test_an_end_meanwhile_ends_the_handshake(end: str) -> None:
    """Which has no timeout here, and no answer."""

    async def main(to: str) -> None:
        it = await AsyncClient.connect(to, timeout=None)
        assert await it.request(b"starttls") == b"ready"
        beginning = asyncio.create_task(it.start_tls(trusting()))
        await asyncio.sleep(0)
        await it.close() if end == "close" else it.abort()
        with pytest.raises(epollo.ConnectionClosed, match="closed here"):
            await asyncio.wait_for(beginning, DEADLINE)

    with answering(frame(b"ready")) as to:
        asyncio.run(main(to))


def test_a_close_by_another_thread_ends_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Event()
    do_handshake = ssl.SSLSocket.do_handshake

    def beginning(sock: ssl.SSLSocket) -> None:
        begun.set()
        do_handshake(sock)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", beginning)
    with answering(frame(b"ready")) as to, ThreadPoolExecutor() as threads:
        it = epollo.connect(to, timeout=None)
        assert it.request(b"starttls") == b"ready"
        handshake = threads.submit(it.start_tls, trusting())
        assert begun.wait(DEADLINE)
        it.close()
        with pytest.raises(epollo.ConnectionClosed, match="closed here"):
            handshake.result(DEADLINE)


def test_a_close_while_the_socket_becomes_one_of_tls_ends_the_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrap_socket = ssl.SSLContext.wrap_socket

    def closed_meanwhile(*arguments: Any, **options: Any) -> ssl.SSLSocket:
        sock = wrap_socket(*arguments, **options)
        it._connection.stream.close("closed here")  # as `Client.close` does in another thread
        it._connection.shut_down()
        return sock

    with answering(frame(b"ready")) as to, epollo.connect(to, timeout=DEADLINE) as it:
        assert it.request(b"starttls") == b"ready"
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", closed_meanwhile)
        with pytest.raises(epollo.ConnectionClosed, match="closed here"):
            it.start_tls(trusting(), timeout=None)


def test_nothing_is_sent_in_plain_by_a_thread_that_sends_at_the_close(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdown = socket.socket.shutdown

    def shutdown_late(sock: socket.socket, how: int) -> None:
        if how == socket.SHUT_RDWR:
            sent.append(transport.try_send(memoryview(bytes(100))))
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.version() is not None, "it was sent in plain"
        shutdown(sock, how)

    sent: list[int] = []
    with epollo.connect(server.addresses[0], timeout=DEADLINE) as it:
        assert it.request(b"starttls") == b"ready"
        it.start_tls(trusting())
        transport = it._connection._transport
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "shutdown", shutdown_late)
            transport.shut_down()
    assert sent == [100]


@KINDS
def test_clients_that_reconnect_have_no_phases(server: Server, kind: Any) -> None:
    with client(kind, server.addresses[0], reconnect=True) as it:
        with pytest.raises(PhaseError, match="a new connection would begin without it"):
            it.reframe("line")
        with pytest.raises(PhaseError, match="leave reconnect out"):
            it.call("start_tls", trusting())


def test_replies_that_are_still_to_come(server: Server) -> None:
    with epollo.connect(server.addresses[0]) as blocking:
        replies = blocking.requests([b"one", b"two", b"three"], window=3)
        assert next(replies) == b"one"
        with pytest.raises(PhaseError, match="replies are still to come"):
            blocking.framing = "line"
        assert list(replies) == [b"two", b"three"]

    async def main() -> None:
        async with AsyncClient(server.addresses[0]) as it:
            request = asyncio.create_task(it.request(b"one"))
            await asyncio.sleep(0)
            with pytest.raises(PhaseError, match="replies are still to come"):
                it.framing = "line"
            assert await request == b"one"

    asyncio.run(main())


def test_both_have_the_same_names() -> None:
    for name in ("framing", "start_tls"):
        assert hasattr(Client, name)
        assert hasattr(AsyncClient, name)
