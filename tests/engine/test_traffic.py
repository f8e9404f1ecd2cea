"""What a connection received and sent is counted, alike on both engines."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest

import epollo
from epollo import CloseReason, Connection
from epollo.engine import EventLoop
from epollo.errors import FilterError
from tests.certificates import Files
from tests.engine.support import Protocol, attached, turn_until
from tests.engines import Engine
from tests.support import DEADLINE, Peer, Recorder, frame, until

Figures = tuple[int, int, int, int]


class Counted(Recorder):
    """Does what its messages say; others are echoed."""

    def received(self, message: bytes, connection: Connection) -> Any:
        match message:
            case b"none":
                return None
            case b"three":
                return [b"1", b"2", b"3"]
            case b"send":
                connection.send(b"sent")
            case b"large":
                return bytes(500_000)
            case b"pause":
                connection.pause_reading()
            case b"raise":
                raise LookupError
        return message


def figures(of: Any) -> Figures:
    return of.messages_in, of.messages_out, of.bytes_in, of.bytes_out


def until_read(connection: Any, size: int) -> None:
    until(lambda: connection.bytes_in == size)


def counting(engine: Engine, handler: Recorder, **settings: Any) -> Any:
    return engine.server(handler, access_log="log", **settings)


@pytest.mark.parametrize(
    ("messages", "replies"),
    [
        ([b"echo"], [b"echo"]),
        ([b"a", b"b", b"none", b"c"], [b"a", b"b", b"c"]),
        ([b"three", b"send", b""], [b"1", b"2", b"3", b"sent", b"send", b""]),
        ([b"x"] * 1000, [b"x"] * 1000),
        ([b"y" * 100_000, b"z"], [b"y" * 100_000, b"z"]),
        ([b"large", b"large", b"a"], [bytes(500_000), bytes(500_000), b"a"]),
    ],
)
def test_messages_and_bytes_are_counted(
    engine: Engine, messages: list[bytes], replies: list[bytes]
) -> None:
    handler = Counted()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as peer:
        connection: Any = handler.opened.get()
        sent, received = b"".join(map(frame, messages)), b"".join(map(frame, replies))
        peer.send(sent)
        assert peer.receive(len(received)) == received
        expected = (len(messages), len(replies), len(sent), len(received))
        until(lambda: figures(connection) == expected)
        assert figures(server._protocol.figures.closed) == (0, 0, 0, 0), "that of closed ones"
        peer.end()
        assert peer.receive_all() == b""
        until(lambda: figures(server._protocol.figures.closed) == expected)


def test_a_message_in_parts_is_one(engine: Engine) -> None:
    handler = Counted()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as peer:
        connection: Any = handler.opened.get()
        data = frame(b"m" * 20_000)
        for start in range(0, len(data), 3000):
            peer.send(data[start : start + 3000])
            until_read(connection, min(len(data), start + 3000))
        assert peer.receive(len(data)) == data
        until(lambda: figures(connection) == (1, 1, len(data), len(data)))


def test_messages_that_are_held_back_are_counted_once(engine: Engine) -> None:
    handler = Counted()
    with counting(engine, handler) as server, Peer(server.addresses[0]) as peer:
        connection: Any = handler.opened.get()
        peer.send(frame(b"pause") + frame(b"m") * 200)
        until(lambda: connection.messages_in == 201)
        assert peer.message() == b"pause"
        connection.resume_reading()
        assert [peer.message() for _ in range(200)] == [b"m"] * 200
        until(lambda: figures(connection)[:2] == (201, 201))


def test_messages_of_other_threads_are_counted_each(engine: Engine) -> None:
    """Small ones are joined on their way to the loop, and while the peer reads nothing."""
    handler = Counted()
    with counting(engine, handler) as server, Peer(server.addresses[0], 1 << 12) as peer:
        connection: Any = handler.opened.get()

        def send() -> None:
            connection.send(bytes(500_000))
            for _ in range(500):
                connection.send(b"small")

        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        assert len(peer.message()) == 500_000
        assert [peer.message() for _ in range(500)] == [b"small"] * 500
        sent = len(frame(bytes(500_000))) + 500 * len(frame(b"small"))
        until(lambda: figures(connection) == (0, 501, 0, sent))


def test_messages_of_a_handler_that_raises_are_counted(engine: Engine, log: Any) -> None:
    handler = Counted()
    with counting(engine, handler) as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"a") + frame(b"raise"))
            assert peer.receive_all() == frame(b"a")
        until(lambda: not server.counters.open)
        assert figures(server._protocol.figures.closed) == (2, 1, 14, 5)
    assert "raised" in log.take()[0]


def test_with_tls_the_bytes_on_the_wire_are_counted(engine: Engine, files: Files) -> None:
    settings = {"tls_cert": files.cert, "tls_key": files.key}
    handler = Counted()
    with counting(engine, handler, **settings) as server:
        context = epollo.tls.client_context(ca=files.ca)
        with epollo.connect(server.addresses[0], framing="u32", tls=context) as client:
            connection: Any = handler.opened.get()
            established = connection.bytes_in
            assert established > 100
            assert client.request(b"x" * 5000) == b"x" * 5000
            until(lambda: connection.messages_out == 1)
            assert connection.messages_in == 1
            assert connection.bytes_in - established > 5000
            until(lambda: connection.bytes_out > 6000)  # counted when they are sent


def test_numbers_are_not_used_again(engine: Engine) -> None:
    handler = Recorder()
    numbers = []
    with engine.server(handler) as server:
        for _ in range(3):
            with Peer(server.addresses[0]):
                numbers.append(handler.connection().id)
            handler.end()
        with Peer(server.addresses[0]), Peer(server.addresses[0]):
            numbers += [handler.connection().id, handler.connection().id]
    assert numbers == sorted(set(numbers))


def test_nothing_is_counted_unless_asked_for(engine: Engine) -> None:
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        connection: Any = handler.connection()
        assert peer.ask(b"m") == b"m"
        assert figures(connection) == (0, 0, 0, 0)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_what_was_held_back_and_nobody_got_is_not_counted(engine: Engine, end: str) -> None:
    class Ending(Recorder):
        def received(self, message: bytes, connection: Connection) -> None:
            if message == b"0":
                connection.pause_reading()
                ended.append(connection)
            else:
                getattr(connection, end)()

    ended: list[Any] = []
    with counting(engine, Ending()) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frame(b"%d" % number) for number in range(5)))
        until(lambda: ended and ended[0].messages_in == 5)
        ended[0].resume_reading()
        assert peer.receive_until_gone() == b""
        until(lambda: ended[0].messages_in == 2)


class Failing:
    """A filter that changes nothing and cannot send."""

    timeout = DEADLINE
    fault = FilterError
    established = True
    handshake_only = speaks_first = ended = partial = False
    peername = tls = None

    def __init__(self) -> None:
        self.output = ssl.MemoryBIO()

    def received(self, data: bytes) -> bytes:
        return data

    def send(self, _: bytes) -> bytes:
        raise LookupError

    def eof(self) -> None:
        pass

    def close(self) -> bytes:
        return b""


def test_messages_whose_replies_could_not_be_sent_are_counted(loop: EventLoop) -> None:
    """The handler has had them, so they count as those of other connections do."""

    class Filtered(Protocol):
        counts = True

        def filters(self, _: Connection) -> list[Failing]:
            return [Failing()]

    protocol = Filtered()
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"m") * 3)
        turn_until(loop, lambda: connection.closed)
    assert protocol.events == ["connected", str(CloseReason.HANDLER_ERROR)]
    assert isinstance(protocol.error, LookupError)
    assert (connection.messages_in, connection.bytes_in) == (3, 15)
