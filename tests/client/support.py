"""Misbehaving servers, and the errors that a client raises for them."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection, address
from epollo.address import dialing
from tests.certificates import server_context
from tests.support import DEADLINE, frame, reset_when_closed

SOON = 0.2  # seconds; a timeout that is meant to pass

Act = Callable[[socket.socket], object]
"""The actions of a peer on one connection, before it closes the connection."""


@contextmanager
def peer_that(*acts: Act, to: str = "127.0.0.1:0") -> Iterator[str]:
    """The address of a peer that accepts one connection after the other, one for each act."""
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            for act in acts:
                with listener.accept()[0] as sock:
                    sock.settimeout(DEADLINE)
                    act(sock)
        except BaseException as error:
            failures.append(error)

    with address.listen(address.parse(to), 10) as listener:
        listener.settimeout(DEADLINE)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(address.of(listener.getsockname()))
        finally:
            thread.join()
    assert failures == []


def read(sock: socket.socket, messages: int) -> list[bytes]:
    """``count`` u32 messages, or fewer if the stream ends before."""
    found = []
    for _ in range(messages):
        if not (header := _exactly(sock, 4)):
            break
        found.append(_exactly(sock, struct.unpack(">I", header)[0]))
    return found


def echo(sock: socket.socket) -> None:
    """Echo u32 frames until the stream ends."""
    while messages := read(sock, 1):
        sock.sendall(frame(messages[0]))


def says(data: bytes) -> Act:
    """Send ``data`` and end the stream."""
    return lambda sock: sock.sendall(data)


def answers(data: bytes) -> Act:
    """Send ``data`` after receiving something, and end the stream."""
    return lambda sock: sock.sendall(data) if sock.recv(100) else None


first_received = threading.Event()


def first_then_reset(sock: socket.socket) -> None:
    """The client sets `first_received`: a RST may drop data that is not read yet."""
    first_received.clear()
    answers(frame(b"first"))(sock)
    assert first_received.wait(DEADLINE)
    reset_when_closed(sock)


def reset(sock: socket.socket) -> None:
    """Close with a RST while a message is unanswered."""
    assert sock.recv(100)
    reset_when_closed(sock)


def silent(sock: socket.socket) -> None:
    """Read without replying until the client ends its stream."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionError:
        pass


def encrypted(act: Act, context: ssl.SSLContext | None = None) -> Act:
    """``act`` over TLS, ended by close_notify; nothing if the client refuses the handshake."""

    def serve(sock: socket.socket) -> None:
        try:
            with (context or server_context()).wrap_socket(sock, server_side=True) as inner:
                act(inner)
                inner.unwrap()
        except OSError:
            pass

    return serve


@dataclass(frozen=True)
class End:
    """One way a connection can end while the client waits for a message."""

    act: Act
    error: type[epollo.EpolloError]
    text: str
    framing: str = "u32"


ENDS: dict[str, End] = {
    "end": End(answers(frame(b"first")), epollo.StreamEnded, r"127\.0\.0\.1:\d+ has closed"),
    "cut": End(
        answers(frame(b"first") + frame(b"cut")[:-1]), epollo.FrameTruncated, "1 byte short"
    ),
    "reset": End(first_then_reset, epollo.ConnectionClosed, "broken: connection reset"),
    "large": End(
        answers(frame(b"first") + b"HTTP/1.1 400"), epollo.FrameTooLarge, "over max_frame"
    ),
    "corrupt": End(answers(b"5:first,GET"), epollo.FrameCorrupt, "netstring", "netstring"),
}

FRAMINGS = [
    *("u8", "u16", "u32", "u64", "u16le", "u32le", "u64le", "varint", "netstring", "line", "raw"),
    *("delimiter:--", "fixed:5", "length(offset=0,size=2,strip=2)", "dns", "kafka", "thrift"),
    *("protobuf", "erlang1", "erlang2", "erlang4"),
]


@contextmanager
def full_listener() -> Iterator[tuple[str, int]]:
    """The address of a listener whose accept queue is full: it answers no connect (listen(2))."""
    sockets = [socket.socket()]
    try:
        sockets[0].bind(("127.0.0.1", 0))
        sockets[0].listen(0)
        where = sockets[0].getsockname()
        for _ in range(4):
            sockets.append(socket.socket())
            sockets[-1].setblocking(False)
            sockets[-1].connect_ex(where)
        yield where
    finally:
        for sock in sockets:
            sock.close()


def shorten_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is not the last one gets half a second of the time at most, so that the next
    one has nearly all of it, however slow the machine is."""
    time_share = address.time_share

    def shorter(seconds: float, addresses: int) -> float:
        share = time_share(seconds, addresses)
        return min(share, 0.5) if addresses > 1 else share

    for module in (address, dialing):
        monkeypatch.setattr(module, "time_share", shorter)


def resolving(*addresses: Any) -> Callable[..., Any]:
    """A getaddrinfo that finds ``addresses``."""
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in addresses]
    return lambda *_, **__: infos


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


@contextmanager
def dead_port(monkeypatch: pytest.MonkeyPatch, *, all_of_them: bool = False) -> Iterator[str]:
    """An address without a listener. The kernel uses its port as the local one of the first
    socket that connects there, or of ``all_of_them``, as it may do with every port of
    net.ipv4.ip_local_port_range: then the two ends of the connection are the same (simultaneous
    open, RFC 9293, 3.5)."""
    sockets = [socket.socket()]

    class Connecting(socket.socket):
        def connect(self, to: Any) -> None:
            if to == where and (all_of_them or len(sockets) == 1):
                sockets.append(self)
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.bind(where)
            super().connect(to)

    with sockets[0] as bound, monkeypatch.context() as patched:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        where = bound.getsockname()
        patched.setattr(socket, "socket", Connecting)
        yield str(address.of(where))


class Holding:
    """Answers every message, and counts large ones. The message ``hold`` blocks its loop until the
    test releases it."""

    def __init__(self) -> None:
        self.held, self.go_on, self.ended = (threading.Event() for _ in range(3))
        self.count = 0

    def received(self, message: bytes) -> bytes:
        if message == b"hold":
            self.held.set()
            assert self.go_on.wait(DEADLINE)
        self.count += len(message) > 1000
        return b"ok"

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.ended.set()


def last_word(said: threading.Event, secure: bool = False) -> Act:
    """Answers one message and closes; then sets ``said``."""

    def act(sock: socket.socket) -> None:
        read(sock, 1)
        sock.sendall(frame(b"last word"))
        sock.close()
        said.set()

    def act_over_tls(sock: socket.socket) -> None:
        with server_context().wrap_socket(sock, server_side=True) as inner:
            act(inner)

    return act_over_tls if secure else act
