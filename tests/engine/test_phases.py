"""Phases: another framing, or TLS, from one message on."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from epollo.engine import EventLoop, Limits, available
from epollo.engine.held_back import HeldRead
from epollo.errors import ConnectionClosed, EncodeError, FramingSpecError, PhaseError
from epollo.framing import Buffer, Decoder, Framing, parse
from fuzz import phases
from fuzz.difference import Difference
from tests.certificates import server_context, trusting
from tests.engine.support import Protocol, attached, turn_until
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, closed, frame, until

SPECS = {b"line": "line", b"u16": "u16", b"u32": "u32", b"digits": "digits(size=4)"}


def u16(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


STREAM = b"".join(
    [
        *(frame(b"one"), frame(b"line")),
        *(b"two\n", b"three\r\n", b"\n", b"u16\n"),
        *(u16(b"four"), u16(b""), u16(b"digits")),
        *(b"0004five", b"0003u32"),
        *(frame(b"six"), frame(b"line"), b"seven\n"),
    ]
)
MESSAGES = [b"one", b"line", b"two", b"three", b"", b"u16", b"four", b"", b"digits", b"five"]
MESSAGES += [b"u32", b"six", b"line", b"seven"]
REPLIES = b"".join(
    [
        *(frame(b"one"), b"line\n", b"two\n", b"three\n", b"\n", u16(b"u16"), u16(b"four")),
        *(u16(b""), b"0006digits", b"0004five", frame(b"u32"), frame(b"six"), b"line\n"),
        b"seven\n",
    ]
)


class Switch(Protocol):
    """Replies to each message with itself; one that is the name of a framing changes to it first.
    ``also`` is called with each message, before."""

    def __init__(
        self,
        also: Callable[[bytes, Any], object] = lambda *_: None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(self._received, limits)
        self.messages: list[bytes] = []
        self._also = also

    def _received(self, message: bytes, connection: Any) -> Any:
        self.messages.append(message)
        self._also(message, connection)
        if message in SPECS:
            connection.framing = SPECS[message]
        return message


@pytest.fixture
def loop(engine: Engine) -> Iterator[EventLoop]:
    loop = engine.loop()
    yield loop
    loop.close()


def turn(loop: EventLoop) -> None:
    """Until nothing is left to do."""
    while loop.poll(0):
        pass
    for _ in range(4):
        loop.poll(0)


def replies(loop: EventLoop, protocol: Protocol, *pieces: bytes) -> bytes:
    """What comes back for ``pieces``, each of which is read before the next is sent."""
    data = b""
    with attached(loop, protocol) as (peer, _):
        for piece in pieces:
            peer.sendall(piece)
            turn(loop)
        peer.shutdown(1)
        turn_until(loop, lambda: len(protocol.events) >= 2)
        while part := peer.recv(1 << 16):
            data += part
    return data


def test_the_next_byte_is_of_the_new_framing(loop: EventLoop) -> None:
    protocol = Switch()
    assert replies(loop, protocol, STREAM) == REPLIES
    assert protocol.messages == MESSAGES
    assert protocol.events == ["connected", "eof"]


def test_wherever_the_stream_is_split(loop: EventLoop) -> None:
    for at in range(1, len(STREAM)):
        protocol = Switch()
        assert replies(loop, protocol, STREAM[:at], STREAM[at:]) == REPLIES, at
        assert protocol.messages == MESSAGES
    protocol = Switch()
    assert replies(loop, protocol, *(STREAM[at : at + 1] for at in range(len(STREAM)))) == REPLIES


@pytest.mark.parametrize("kind", ["pause", "large", "several", "generator"])
def test_what_was_held_back_is_cut_anew_too(loop: EventLoop, kind: str) -> None:
    """Delivery pauses at the first message, and all others of the read are held back."""

    def also(message: bytes, connection: Any) -> None:
        if message != b"one":
            return
        if kind == "pause":
            connection.pause_reading()
            loop.call_later(0, connection.resume_reading)
        elif kind == "large":
            connection.send(bytes(900_000))

    protocol = Switch(also)
    if kind in ("several", "generator"):
        received = protocol.received

        def reply(message: bytes, connection: Any) -> Any:
            answer = received(message, connection)
            if message != b"one":
                return answer
            many = [answer] * 1000
            return many if kind == "several" else (each for each in many)

        protocol.received = reply
    with attached(loop, protocol) as (peer, _):
        peer.sendall(STREAM)
        peer.shutdown(1)
        reader = threading.Thread(target=_read_all, args=(peer, data := bytearray()))
        reader.start()
        turn_until(loop, lambda: len(protocol.events) >= 2)
        reader.join()
    assert (protocol.events, protocol.error) == (["connected", "eof"], None)
    assert protocol.messages == MESSAGES
    assert data.endswith(REPLIES[7:])


def _read_all(peer: Any, data: bytearray) -> None:
    while part := peer.recv(1 << 16):
        data += part


def test_bytes_that_the_old_framing_could_not_cut(loop: EventLoop) -> None:
    """They are no fault: the framing changed before them."""
    protocol = Switch(limits=Limits(in_flight=1))
    assert replies(loop, protocol, frame(b"line") + b"\xff\xff\xff\xff\n") == (
        b"line\n\xff\xff\xff\xff\n"
    )
    assert protocol.events == ["connected", "eof"]


def test_a_fault_behind_is_one_of_the_new_framing(loop: EventLoop) -> None:
    protocol = Switch()
    assert replies(loop, protocol, frame(b"digits") + b"0001ano digits") == b"0006digits0001a"
    assert protocol.events == ["connected", "bad_frame"]


def test_a_frame_of_the_new_framing_that_is_cut_short(loop: EventLoop) -> None:
    protocol = Switch()
    assert replies(loop, protocol, frame(b"digits") + b"0009only") == b"0006digits"
    assert protocol.events == ["connected", "truncated"]


def test_max_frame_holds_for_the_new_framing(loop: EventLoop) -> None:
    protocol = Switch()
    protocol.framing = parse("u32", 16)
    assert replies(loop, protocol, frame(b"u16") + u16(bytes(14)) + u16(bytes(15))) == (
        u16(b"u16") + u16(bytes(14))
    )
    assert protocol.events == ["connected", "frame_too_large"]


def test_a_framing_that_changes_with_every_message(loop: EventLoop) -> None:
    protocol = Switch()
    stream = (frame(b"line") + b"u32\n") * 3000
    assert replies(loop, protocol, stream + frame(b"end")) == (
        (b"line\n" + frame(b"u32")) * 3000 + frame(b"end")
    )


def test_what_was_sent_before_keeps_its_framing(loop: EventLoop) -> None:
    def received(message: bytes, connection: Any) -> bytes:
        connection.send(b"before")
        connection.framing = "u16"
        connection.send(b"between")
        connection.framing = "line"
        connection.send(b"after")
        return b"reply"

    protocol = Protocol(received)
    expected = frame(b"before") + u16(b"between") + b"after\nreply\n"
    assert replies(loop, protocol, frame(b"go")) == expected


class Last(Framing):
    """A framing of a user's own, whose decoder keeps what is incomplete to itself: lines."""

    def encode(self, message: Buffer) -> bytes:
        return bytes(message) + b"\n"

    def decoder(self) -> Decoder:
        return LastDecoder()


class LastDecoder(Decoder):
    partial: bool = False

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: Buffer) -> list[bytes]:
        *lines, self._held = (self._held + bytes(data)).split(b"\n")
        self.partial = bool(self._held)
        return lines

    def eof(self) -> None:
        pass


def test_a_framing_of_ones_own_a_class_or_an_object(loop: EventLoop) -> None:
    def received(message: bytes, connection: Any) -> bytes:
        if message == b"class":
            connection.framing = Last
        if message == b"object":
            connection.framing = parse("u16")
        return message

    stream = frame(b"class") + b"a\nb\nobject\n" + u16(b"c")
    assert replies(loop, Protocol(received), stream) == b"class\na\nb\n" + u16(b"object") + u16(
        b"c"
    )


def test_a_decoder_that_does_not_tell_where_the_next_byte_is(loop: EventLoop) -> None:
    def received(message: bytes, connection: Any) -> None:
        connection.framing = "u16"

    protocol = Protocol(received)
    protocol.framing = Last("last", 100)
    replies(loop, protocol, b"beg", b"in\n\0")
    assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, PhaseError)
    assert "'last' does not tell where the next byte is" in str(protocol.error)


@pytest.mark.parametrize("end", ["close", "abort", "drain", "raise", "pause"])
def test_a_handler_that_also_ends_or_pauses_the_connection(loop: EventLoop, end: str) -> None:
    def also(message: bytes, connection: Any) -> None:
        if message == b"line":
            connection.framing = "u16"
            if end == "raise":
                raise ValueError("on purpose")
            if end == "pause":
                connection.pause_reading()
                loop.call_later(0, connection.resume_reading)
            else:
                getattr(connection, end)()

    protocol = Switch(also)
    if end in ("close", "abort"):  # too late then
        protocol.received = lambda message, connection: also(message, connection)
    expected = {
        "close": ("local", b""),
        "abort": ("local", b""),
        "raise": ("handler_error", b""),
        "drain": ("shutdown", b"line\ntwo\n"),
        "pause": ("eof", b"line\ntwo\n"),
    }[end]
    assert replies(loop, protocol, frame(b"line") + b"two\n") == expected[1]
    assert protocol.events == ["connected", expected[0]]


def test_from_connected_and_from_a_timer_inside_a_frame(loop: EventLoop) -> None:
    class Early(Switch):
        def connected(self, connection: Any) -> None:
            super().connected(connection)
            connection.framing = "u16"
            connection.send(b"hello")

    protocol = Early()
    with attached(loop, protocol) as (peer, connection):
        peer.sendall(u16(b"one") + b"\0")  # read as u16, of which this is not yet a frame
        turn_until(loop, lambda: protocol.messages)
        turn(loop)
        assert connection.has_partial_frame()
        loop.call_later(0, lambda: setattr(connection, "framing", "line"))
        turn(loop)
        loop.poll(0.01)
        turn(loop)
        peer.sendall(b"two\n")
        turn_until(loop, lambda: len(protocol.messages) == 2)
        assert protocol.messages == [b"one", b"\0two"]
        assert connection.framing.name == "line"
        peer.shutdown(1)
        turn_until(loop, lambda: len(protocol.events) == 2)
        assert peer.recv(100) == u16(b"hello") + u16(b"one") + b"\0two\n"


def test_errors_say_what_is_wrong(loop: EventLoop) -> None:
    protocol = Switch()
    with attached(loop, protocol) as (_, connection):
        with pytest.raises(FramingSpecError, match="unknown framing 'u33'"):
            connection.framing = "u33"
        with pytest.raises(FramingSpecError, match="neither a name such as 'u32' nor a Framing"):
            connection.framing = 4  # type: ignore[assignment]
        assert connection.framing.name == "u32"
        connection.abort()
        with pytest.raises(ConnectionClosed, match="too late for framing"):
            connection.framing = "u16"
        with pytest.raises(ConnectionClosed, match="too late for start_tls"):
            connection.start_tls(server_context())


# ---- Handlers that wait


def async_server(engine: Engine, handler: Any, **settings: Any) -> Server:
    if not engine.is_descriptor:
        pytest.skip("a poller without a descriptor cannot be in an asyncio loop")
    return engine.server(handler, loop="asyncio", **settings)


@pytest.mark.parametrize("awaits", [False, True])
def test_an_async_handler_may_change_it_after_an_await(engine: Engine, awaits: bool) -> None:
    messages = []

    async def handle(message: bytes, connection: Connection) -> bytes:
        if awaits:
            await asyncio.sleep(0)
        messages.append(message)
        if message in SPECS:
            connection.framing = SPECS[message]
        return message

    with async_server(engine, handle) as server, Peer(server.addresses[0]) as peer:
        peer.send(STREAM)
        peer.end()
        assert peer.receive_all() == REPLIES
    assert messages == MESSAGES


def test_a_thread_may_change_it(engine: Engine) -> None:
    messages = []

    def handle(message: bytes, connection: Connection) -> bytes:
        messages.append(message)
        connection.send(b"b:" + message)
        if message in SPECS:
            connection.framing = SPECS[message]
        return message

    with engine.server(handle, threads=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"one") + frame(b"line") + b"two\nu16\n" + u16(b"three"))
        peer.end()
        assert peer.receive_all() == (
            frame(b"b:one") + frame(b"one") + frame(b"b:line") + b"line\nb:two\ntwo\nb:u16\n"
            + u16(b"u16") + u16(b"b:three") + u16(b"three")
        )  # fmt: skip


def test_messages_in_flight_refuse_it(engine: Engine) -> None:
    errors = []

    async def handle(message: bytes, connection: Connection) -> bytes:
        await asyncio.sleep(0)
        try:
            connection.framing = "line"
        except PhaseError as error:
            errors.append(str(error))
        return message

    with async_server(engine, handle, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"one") + frame(b"two"))
        assert peer.receive(14) == frame(b"one") + frame(b"two")
    assert errors[0].startswith("framing: messages are in flight; set in_flight=1, or ")


def test_a_group_reaches_members_of_every_framing(engine: Engine, log: Log) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.join("all")
        if message == b"line":
            connection.framing = "line"
        return message

    with (
        engine.server(handle) as server,
        Peer(server.addresses[0]) as one,
        Peer(server.addresses[0]) as other,
    ):
        one.send(frame(b"hello"))
        other.send(frame(b"line"))
        assert one.message() == b"hello"
        assert other.receive(5) == b"line\n"
        server.publish("all", b"news")
        server.publish("all", b"two\nlines")
        server.publish("all", b"more")
        assert [one.message() for _ in range(3)] == [b"news", b"two\nlines", b"more"]
        assert other.receive(10) == b"news\nmore\n"
    assert [line.partition(" of group ")[2] for line in log.take()] == [
        "'all': a message with LF in it cannot be sent as one line"
    ]


def test_what_a_handler_publishes_is_encoded_once_for_each_framing(
    engine: Engine, log: Log
) -> None:
    encoded: list[bytes] = []

    class Counting(Last):
        def encode(self, message: Buffer) -> bytes:
            encoded.append(bytes(message))
            if message == b"too long":
                raise EncodeError("it is too long")
            return super().encode(message)

    other = Counting("counting", 100)

    def handle(message: bytes, connection: Connection) -> None:
        connection.join("all")
        if message == b"other":
            connection.framing = other
        server.publish("all", message)

    server = engine.server(handle)
    with server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(4)]
        for number, peer in enumerate(peers[1:], start=1):
            peer.send(frame(b"other"))
            assert peer.receive(6) == b"other\n", "in the new framing, as it is after the change"
            for earlier in peers[1:number]:
                assert earlier.receive(6) == b"other\n"
        encoded.clear()
        for message in (b"one", b"too long", b"two"):
            peers[0].send(frame(message))
            assert peers[0].message() == message
        for peer in peers[1:]:
            assert peer.receive(8) == b"one\ntwo\n"
    assert encoded == [b"one", b"too long", b"two"]
    assert [line.partition(" of group ")[2] for line in log.take()] == ["'all': it is too long"] * 3


# ---- TLS


class StartTLS:
    """Replies b"ready" to b"starttls", and begins TLS; sends back all others."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = {"context": server_context()} | arguments
        self.messages: list[tuple[bytes, bool]] = []
        self.ends: list[str] = []
        self.connection: Connection | None = None

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        self.connection = connection
        self.messages.append((message, connection.tls is not None))
        if message != b"starttls":
            return message
        connection.send(b"ready")
        connection.start_tls(**self.arguments)
        assert connection.tls is None
        return None

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.ends.append(f"{reason}: {connection.error}")

    @property
    def end(self) -> str:
        until(lambda: self.ends)
        return self.ends[0]


def secured(peer: Peer) -> ssl.SSLSocket:
    return trusting().wrap_socket(peer.socket, server_hostname="127.0.0.1")


def test_tls_begins_behind_the_plain_reply(engine: Engine) -> None:
    handler = StartTLS()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"plain") == b"plain"
        assert peer.ask(b"starttls") == b"ready"
        peer.socket = secured(peer)
        assert peer.ask(b"secret") == b"secret"
        peer.send(frame(b"x" * 100_000) + frame(b"y"))
        assert peer.message() == b"x" * 100_000
        assert peer.message() == b"y"
        peer.close()
    assert [message[:6] for message, _ in handler.messages] == [
        *(b"plain", b"startt", b"secret", b"x" * 6, b"y")
    ]
    assert [encrypted for _, encrypted in handler.messages] == [False, False, True, True, True]
    assert handler.end == "eof: None"


@pytest.mark.parametrize("behind", [frame(b"injected"), b"\0", b"\0\0\0\x08inje", bytes(1 << 16)])
def test_nothing_plain_behind_the_request_is_a_message(engine: Engine, behind: bytes) -> None:
    """CVE-2021-23214."""
    handler = StartTLS()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"starttls") + behind)
        assert peer.message() == b"ready"
        peer.receive_until_gone()
        assert "came in plain behind the request for TLS" in handler.end
        assert handler.end.startswith("tls_error: ")
    assert handler.messages == [(b"starttls", False)]


def test_nor_if_it_comes_later(engine: Engine) -> None:
    handler = StartTLS()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"starttls") == b"ready"
        peer.send(frame(b"injected"))
        peer.receive_until_gone()
        assert handler.end.startswith("tls_error: TLS handshake: ")
    assert handler.messages == [(b"starttls", False)]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_nor_behind_an_await(engine: Engine, log: Log, in_flight: int) -> None:
    messages, ends = [], []

    class Handler:
        async def received(self, message: bytes, connection: Connection) -> None:
            await asyncio.sleep(0)
            messages.append(message)
            if message == b"starttls":
                connection.start_tls(server_context())

        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            ends.append(str(reason))

    server = async_server(engine, Handler(), in_flight=in_flight)
    with server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"starttls") + frame(b"injected") + frame(b"more"))
        peer.receive_until_gone()
        until(lambda: ends)
    if in_flight == 1:
        assert (messages, ends) == ([b"starttls"], ["tls_error"])
    else:
        assert ends == ["handler_error"]
        assert len(log.take()) == 1


def test_what_is_sent_after_start_tls_waits_for_the_handshake(engine: Engine) -> None:
    class Handler(StartTLS):
        def received(self, message: bytes, connection: Connection) -> bytes | None:
            connection.join("all")
            super().received(message, connection)
            return b"greeting" if message == b"starttls" else None

    handler = Handler()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"starttls") == b"ready"
        server.publish("all", b"news")
        peer.socket = secured(peer)
        assert (peer.message(), peer.message()) == (b"greeting", b"news")


def test_what_waits_is_bounded(engine: Engine) -> None:
    handler = StartTLS()
    with engine.server(handler, max_unsent=1 << 16) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"starttls") == b"ready"
        assert handler.connection is not None
        send = handler.connection.send
        with pytest.raises(ConnectionClosed):
            all(send(bytes(1000)) is None for _ in range(10_000))
        assert handler.end.startswith("slow_consumer")


def test_the_handshake_has_a_deadline(engine: Engine) -> None:
    handler = StartTLS(timeout=0.05)
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"starttls") == b"ready"
        peer.receive_until_gone()
        assert handler.end == "tls_error: no TLS handshake within 0.05 s after start_tls"


def test_a_reply_that_is_sent_too_late_is_named(engine: Engine) -> None:
    class Late(StartTLS):
        def received(self, message: bytes, connection: Connection) -> bytes:
            connection.start_tls(**self.arguments)
            return b"ready"

    handler = Late(timeout=0.05)
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"starttls"))
        assert peer.receive_until_gone() == b""
        assert handler.end.endswith("; the reply that asks for it has to be sent before start_tls")


def test_a_peer_that_leaves_instead(engine: Engine) -> None:
    handler = StartTLS()
    with engine.server(handler) as server:
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"starttls") == b"ready"
        assert "tls_error: the peer left before the TLS handshake was done" in handler.end
        assert closed(server, CloseReason.TLS_ERROR) == 1


def test_a_new_framing_together_with_tls(engine: Engine) -> None:
    """As PostgreSQL does: one byte, then TLS, then other frames."""

    def handle(message: bytes, connection: Connection) -> bytes | None:
        if message != b"ssl":
            return message
        connection.framing = "raw"
        connection.send(b"S")
        connection.start_tls(server_context())
        connection.framing = "u16"
        return None

    with engine.server(handle) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"ssl"))
        assert peer.receive(1) == b"S"
        peer.socket = secured(peer)
        peer.send(u16(b"one"))
        assert peer.receive(5) == u16(b"one")


def test_tls_cannot_begin_twice_nor_without_a_certificate(engine: Engine) -> None:
    errors = []

    def handle(message: bytes, connection: Connection) -> bytes:
        try:
            connection.start_tls()
            connection.start_tls()
        except (PhaseError, ValueError) as error:
            errors.append(f"{type(error).__name__}: {error}")
        return message

    with engine.server(handle) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"one"
    settings = {"tls": server_context(), "tls_start": "handler"}
    with engine.server(handle, **settings) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"two"))
        peer.socket = secured(peer)
        assert peer.message() == b"two"
    assert errors == [
        "SettingError: start_tls: there is no certificate; pass a context, or set tls_cert",
        "PhaseError: start_tls: the connection has TLS already",
    ]


def test_a_server_that_stops_meanwhile(engine: Engine) -> None:
    handler = StartTLS()
    with Peer((server := engine.server(handler)).__enter__().addresses[0]) as peer:
        assert peer.ask(b"starttls") == b"ready"
        server.__exit__(None, None, None)
        peer.receive_until_gone()
    assert handler.end.startswith("shutdown")


# ---- By chance


@pytest.mark.skipif("native" not in available(), reason="one engine agrees with itself")
@pytest.mark.parametrize("first", range(0, 300, 50))
def test_both_engines_agree(first: int) -> None:
    for seed in range(first, first + 50):
        phases.check(seed)


@pytest.mark.skipif("native" not in available(), reason="one engine agrees with itself")
def test_a_bug_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldRead, "behind", lambda read, _: read.data or b"")
    with pytest.raises(Difference, match="seed"):
        list(map(phases.check, range(100)))
