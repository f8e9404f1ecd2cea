"""The loop, on every poller: turns, calls from elsewhere, outgoing connections, and what a handler
may do."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed, EncodeError, address
from epollo.engine import EventLoop
from epollo.framing import parse
from tests.engine.support import Protocol, attached, turn_until, unwanted
from tests.engines import every_poller
from tests.logs import Log
from tests.support import DEADLINE, frame, unused

pytestmark = every_poller


def closing(_: bytes, connection: Connection) -> None:
    connection.close()


def test_poll_tells_how_many_were_ready(loop: EventLoop) -> None:
    assert loop.poll(0) == 0
    with attached(loop, Protocol()) as (peer, _):
        peer.send(frame(b"hello"))
        assert loop.poll(DEADLINE) == 1
        assert peer.recv(100) == frame(b"hello")


def test_a_call_from_another_thread_wakes_the_loop(loop: EventLoop) -> None:
    calls: list[int | None] = []

    def call() -> None:
        calls.append(threading.get_ident())

    thread = threading.Thread(target=lambda: loop.call_threadsafe(call))
    thread.start()
    turn_until(loop, lambda: calls)
    thread.join()
    assert calls == [threading.get_ident()]


def test_run_ends_with_stop_and_can_be_run_again(loop: EventLoop) -> None:
    for _ in range(2):
        loop.call_threadsafe(loop.stop)
        loop.run()


def test_a_timer_fires_in_its_turn(loop: EventLoop) -> None:
    fired: list[str] = []
    loop.call_later(0.01, lambda: fired.append("later"))
    loop.call_later(0, lambda: fired.append("now"))
    turn_until(loop, lambda: len(fired) == 2)
    assert fired == ["now", "later"]


def test_a_callback_that_raises_is_logged_and_the_loop_goes_on(loop: EventLoop, log: Log) -> None:
    called: list[int] = []
    loop.call_threadsafe(lambda: called[0])
    loop.call_threadsafe(lambda: called.append(1))
    loop.poll(0)
    assert called == [1]
    assert log.take() == ["a callback of the loop raised"]


def test_an_outgoing_connection_uses_the_same_loop(loop: EventLoop) -> None:
    server, client = Protocol(), Protocol(received=closing)
    listener = address.listen(address.parse("127.0.0.1:0"), 5)
    loop.listen(listener, lambda sock: loop.attach(sock, server), unwanted)
    connection = loop.attach(address.start_connect(address.of(listener.getsockname())), client)
    turn_until(loop, lambda: client.events)
    assert client.events == ["connected"]
    connection.send(b"hello")
    turn_until(loop, lambda: len(client.events) == 2 and len(server.events) == 2)
    assert client.events == ["connected", "local"]
    assert server.events == ["connected", "eof"]
    loop.unlisten(listener)


def test_a_connect_that_is_refused_is_closed_without_connected(loop: EventLoop) -> None:
    protocol = Protocol()
    with unused() as nobody:
        loop.attach(address.start_connect(address.parse(nobody)), protocol)
        turn_until(loop, lambda: protocol.events)
    assert protocol.events == ["refused"]
    assert isinstance(protocol.error, ConnectionRefusedError)


def test_a_connection_under_way_takes_no_messages_and_can_be_paused(loop: EventLoop) -> None:
    protocol = Protocol()
    with address.listen(address.parse("127.0.0.1:0"), 1) as listener:
        listening = address.of(listener.getsockname())
        connection = loop.attach(address.start_connect(listening), protocol)
        if not protocol.events:  # else the kernel was quicker
            with pytest.raises(ConnectionClosed, match="connecting"):
                connection.send(b"too early")
        connection.pause_reading()
        turn_until(loop, lambda: protocol.events)
        with listener.accept()[0] as peer:
            peer.sendall(frame(b"held back"))
            connection.close()
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "local"]


@pytest.mark.parametrize(
    ("reply", "sent"),
    [
        (b"one", [b"one"]),
        (None, []),
        (bytearray(b"array"), [b"array"]),
        (memoryview(b"view"), [b"view"]),
        ([b"one", b"", bytearray(b"two")], [b"one", b"", b"two"]),
        ((), []),
    ],
)
def test_what_a_handler_may_return(loop: EventLoop, reply: Any, sent: list[bytes]) -> None:
    protocol = Protocol(received=lambda message, _: reply if message == b"ask" else message)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"ask") + frame(b"done"))
        loop.poll(DEADLINE)
        assert peer.recv(100) == b"".join(map(frame, [*sent, b"done"]))


@pytest.mark.parametrize("reply", [42, "text", [b"fine", "text"], bytes(1 << 20)])
def test_what_a_handler_may_not_return_closes_its_connection(loop: EventLoop, reply: Any) -> None:
    protocol = Protocol(received=lambda *_: reply)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"ask"))
        loop.poll(DEADLINE)
        assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, TypeError | EncodeError)


def test_send_and_return_keep_their_order(loop: EventLoop) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.send(b"before " + message)
        return b"after " + message

    with attached(loop, Protocol(received=handle)) as (peer, _):
        peer.send(frame(b"1") + frame(b"2"))
        loop.poll(DEADLINE)
        wanted = [b"before 1", b"after 1", b"before 2", b"after 2"]
        assert peer.recv(1000) == b"".join(map(frame, wanted))


def test_a_handler_can_push_to_another_connection(loop: EventLoop) -> None:
    other = Protocol()
    with attached(loop, other) as (other_peer, other_connection):
        protocol = Protocol(received=lambda message, _: other_connection.send(message))
        with attached(loop, protocol) as (peer, _):
            peer.send(frame(b"one") + frame(b"two"))
            loop.poll(DEADLINE)
            assert other_peer.recv(100) == frame(b"one") + frame(b"two")


def test_close_in_a_handler_sends_its_reply_and_handles_no_more(loop: EventLoop) -> None:
    handled: list[bytes] = []

    def handle(message: bytes, connection: Connection) -> bytes:
        handled.append(message)
        connection.close()
        with pytest.raises(ConnectionClosed):
            connection.send(b"too late")
        return b"bye"

    protocol = Protocol(received=handle)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"quit") + frame(b"never handled"))
        loop.poll(DEADLINE)
        assert peer.recv(100) == frame(b"bye")
        assert peer.recv(100) == b""
    assert handled == [b"quit"]
    assert protocol.events == ["connected", "local"]


def test_abort_drops_what_is_queued(loop: EventLoop) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.send(b"queued")
        connection.abort()
        return b"reply"

    protocol = Protocol(received=handle)
    with attached(loop, protocol) as (peer, connection):
        peer.send(frame(b"ask"))
        loop.poll(DEADLINE)
        assert peer.recv(100) == b""
        assert connection.closed
        with pytest.raises(ConnectionClosed):
            connection.send(b"more")
    assert protocol.events == ["connected", "local"]


def test_a_paused_connection_delivers_nothing_until_resumed(loop: EventLoop) -> None:
    handled: list[bytes] = []

    def handle(message: bytes, connection: Connection) -> None:
        handled.append(message)
        connection.pause_reading()

    with attached(loop, Protocol(received=handle)) as (peer, connection):
        peer.send(frame(b"1") + frame(b"2"))
        loop.poll(DEADLINE)
        peer.send(frame(b"3"))
        assert loop.poll(0) == 0
        assert handled == [b"1"]
        for count in (2, 3):
            connection.resume_reading()
            turn_until(loop, lambda count=count: len(handled) == count)  # type: ignore[misc]
        connection.resume_reading()
    assert handled == [b"1", b"2", b"3"]


def test_a_peer_that_leaves_while_paused_costs_no_turns_and_loses_nothing(loop: EventLoop) -> None:
    handled: list[bytes] = []
    protocol = Protocol(received=lambda message, _: handled.append(message))
    with attached(loop, protocol) as (peer, connection):
        connection.pause_reading()
        loop.poll(0)
        peer.send(frame(b"sent before leaving"))
        peer.close()
        loop.poll(0)
        assert loop.poll(0) == 0, "a hang-up that nobody asked for wakes the loop for ever"
        connection.resume_reading()
    assert handled == [b"sent before leaving"]
    assert protocol.events == ["connected", "eof"]


def test_pausing_a_connection_of_the_same_batch_holds_its_message_back(loop: EventLoop) -> None:
    connections: list[Connection] = []
    handled: list[bytes] = []

    def handle(message: bytes, connection: Connection) -> None:
        handled.append(message)
        for other in connections:
            if other is not connection:
                other.pause_reading()

    one, two = Protocol(received=handle), Protocol(received=handle)
    with attached(loop, one) as (peer1, first), attached(loop, two) as (peer2, second):
        connections += [first, second]
        peer1.send(frame(b"x"))
        peer2.send(frame(b"x"))
        while not handled:
            loop.poll(DEADLINE)
        assert handled == [b"x"]
        connections.clear()
        first.resume_reading()
        second.resume_reading()
    assert handled == [b"x", b"x"]


def test_a_handler_that_raises_in_connected_closes_its_connection(loop: EventLoop) -> None:
    class Rude(Protocol):
        def connected(self, connection: Connection) -> None:
            super().connected(connection)
            raise RuntimeError("go away")

    protocol = Rude()
    with attached(loop, protocol):
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "handler_error"]


def test_a_handler_that_raises_in_closed_is_logged(loop: EventLoop, log: Log) -> None:
    class Rude(Protocol):
        def closed(self, connection: Connection, reason: CloseReason) -> None:
            super().closed(connection, reason)
            raise RuntimeError("oh no")

    with attached(loop, Rude()):
        pass
    assert log.take() == ["the handler raised in disconnected"]


def test_send_from_eight_threads_interleaves_no_frames(loop: EventLoop) -> None:
    each = 2000
    done: list[bytes] = []

    def send(connection: Connection, number: int) -> None:
        for count in range(each):
            connection.send(b"%d %d" % (number, count))

    with (
        attached(loop, Protocol()) as (peer, connection),
        ThreadPoolExecutor(9) as threads,
    ):
        loop.poll(0)  # from now on, the loop's thread is this one
        for number in range(8):
            threads.submit(send, connection, number)
        reader = threads.submit(_read_frames, peer, 8 * each)
        reader.add_done_callback(lambda _: loop.call_threadsafe(lambda: done.append(b"")))
        turn_until(loop, lambda: done)
        messages = reader.result()
    for number in range(8):
        mine = [message for message in messages if message.startswith(b"%d " % number)]
        assert mine == [b"%d %d" % (number, count) for count in range(each)]


def _read_frames(peer: socket.socket, count: int) -> list[bytes]:
    decoder = parse("u32").decoder()
    messages: list[bytes] = []
    while len(messages) < count and (data := peer.recv(65536)):
        messages += decoder.feed(data)
    return messages


def test_an_address_is_asked_for_without_a_second_owner_of_the_descriptor(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that another thread made, while the loop closes it, would close somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = listener.getsockname()
        with socket.create_connection(where, DEADLINE):
            connection = loop.attach(listener.accept()[0], Protocol())
            with monkeypatch.context() as patched:
                patched.setattr(socket, "socket", unwanted)
                assert connection.sockname == str(address.of(where))
            connection.abort()
            loop.poll(0)
            with pytest.raises(OSError, match="Bad file descriptor"):
                _ = connection.sockname


def test_a_peer_still_talking_gets_its_replies_before_the_close(loop: EventLoop) -> None:
    """close() with bytes unread would answer with a reset; the reply would be lost to it."""

    talking: list[Connection] = []

    def handle(message: bytes, connection: Connection) -> bytes:
        talking.append(connection)
        connection.close()
        return b"bye"

    protocol = Protocol(received=handle)
    listener = address.listen(address.parse("127.0.0.1:0"), 5)
    loop.listen(listener, lambda sock: loop.attach(sock, protocol), unwanted)
    with address.connect(address.of(listener.getsockname()), DEADLINE) as peer:
        peer.sendall(frame(b"quit") + bytes(1 << 20))
        turn_until(loop, lambda: protocol.events)
        for _ in range(10):
            loop.poll(0)
            talking[0].close()  # a second time changes nothing
        assert peer.recv(100) == frame(b"bye")
        assert peer.recv(100) == b""
        assert protocol.events == ["connected"], "lingers while the peer may be talking"
    turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "local"]
    loop.unlisten(listener)


def test_closing_the_loop_closes_what_is_left_in_it(loop: EventLoop) -> None:
    protocol = Protocol()
    theirs, ours = socket.socketpair()
    with theirs:
        loop.attach(ours, protocol)
        loop.listen(address.listen(address.parse("127.0.0.1:0"), 1), unwanted, unwanted)
        loop.close()
        assert theirs.recv(1) == b""
    assert protocol.events == ["connected", "local"]


def test_pushes_after_a_reply_of_the_same_read_leave_nothing_unsent(loop: EventLoop) -> None:
    def handle(message: bytes, connection: Connection) -> Any:
        return b"short" if message == b"1" else [bytes(1 << 16)] * 3

    protocol = Protocol(received=handle)
    with attached(loop, protocol) as (peer, connection), ThreadPoolExecutor(1) as reader:
        size = len(frame(b"short")) + 3 * len(frame(bytes(1 << 16)))
        peer.send(frame(b"1") + frame(b"2"))
        reply = reader.submit(_read_bytes, peer, size)
        reply.add_done_callback(lambda _: loop.call_threadsafe(lambda: None))
        turn_until(loop, reply.done)
        turn_until(loop, lambda: not connection.unsent)
        # Else it wakes up for room to send, with nothing to send, for ever.
        assert 0 in [loop.poll(0) for _ in range(10)]


def _read_bytes(peer: socket.socket, size: int) -> int:
    """How many bytes of ``size`` are missing when the stream ends, or they are all there."""
    while size > 0 and (part := peer.recv(65536)):
        size -= len(part)
    return size


def test_an_empty_reply_without_a_frame_is_nothing_that_a_peer_can_miss(loop: EventLoop) -> None:
    protocol = Protocol(received=lambda *_: b"")
    protocol.framing = parse("raw")
    with attached(loop, protocol) as (peer, connection):
        loop.poll(0)
        peer.send(b"ask")
        assert loop.poll(DEADLINE) == 1
        assert connection.unsent == 0
    assert protocol.events == ["connected", "eof"]


def test_a_reply_behind_abort_is_not_sent_however_large(loop: EventLoop) -> None:
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.abort()
        return bytes(10_000)

    with attached(loop, Protocol(received=handle)) as (peer, _):
        peer.send(frame(b"ask"))
        loop.poll(DEADLINE)
        assert peer.recv(100) == b""


def test_a_handler_that_closes_and_raises_is_a_handler_error(loop: EventLoop) -> None:
    def handle(message: bytes, connection: Connection) -> None:
        connection.close()
        raise ZeroDivisionError

    protocol = Protocol(received=handle)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"ask"))
    assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, ZeroDivisionError)


def test_unlistening_from_a_handler_of_the_same_batch_ends_nothing(loop: EventLoop) -> None:
    listener = address.listen(address.parse("127.0.0.1:0"), 5)
    where = address.of(listener.getsockname())

    def accept(sock: socket.socket) -> None:
        sock.close()
        if listener.fileno() >= 0:
            loop.unlisten(listener)

    loop.listen(listener, accept, unwanted)
    with (
        attached(loop, Protocol(received=lambda *_: accept(socket.socket()))) as (peer, _),
        address.start_connect(where),
        address.start_connect(where),
    ):
        peer.send(frame(b"unlisten"))
        turn_until(loop, lambda: listener.fileno() < 0)
        loop.poll(0)


REQUESTS = frame(bytes(1000)) * 300  # more than one read takes


def _send_all_at_once(peer: socket.socket) -> None:
    """The requests. What one end of a socket pair has sent has arrived at the other; TCP may keep
    the most of it here until that reads."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(REQUESTS))
    peer.sendall(REQUESTS)


def test_draining_answers_all_that_has_arrived(loop: EventLoop) -> None:
    protocol = Protocol()
    with (
        attached(loop, protocol) as (peer, connection),
        ThreadPoolExecutor(1) as reader,
    ):
        loop.poll(0)
        _send_all_at_once(peer)
        connection.drain()
        reply = reader.submit(_read_bytes, peer, len(REQUESTS))
        reply.add_done_callback(lambda _: loop.call_threadsafe(lambda: None))
        turn_until(loop, reply.done)
        assert reply.result() == 0
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "shutdown"]


def test_draining_goes_on_when_a_slow_peer_has_taken_its_replies(loop: EventLoop) -> None:
    reply = bytes(64 << 10)
    protocol = Protocol(received=lambda *_: reply)
    with (
        attached(loop, protocol) as (peer, connection),
        ThreadPoolExecutor(1) as reader,
    ):
        loop.poll(0)
        _send_all_at_once(peer)
        turn_until(loop, lambda: connection.unsent > protocol.limits.high_water)
        connection.drain()
        missing = reader.submit(_read_bytes, peer, len(frame(reply)) * 300)
        missing.add_done_callback(lambda _: loop.call_threadsafe(lambda: None))
        turn_until(loop, missing.done)
        assert missing.result() == 0
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "shutdown"]


def test_a_wait_of_a_year_is_no_error(loop: EventLoop) -> None:
    loop.call_later(3e7, unwanted)
    loop.call_threadsafe(loop.stop)
    loop.run()
    loop.call_later(0, loop.stop)
    loop.run()


def test_a_handler_that_calls_poll_is_told_that_its_turn_is_not_over(loop: EventLoop) -> None:
    protocol = Protocol(received=lambda *_: loop.poll(0))
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"turn"))
        turn_until(loop, lambda: len(protocol.events) == 2)
    assert protocol.events == ["connected", "handler_error"]
    assert isinstance(protocol.error, RuntimeError)


def test_a_drain_from_a_handler_answers_in_order(loop: EventLoop) -> None:
    """What is still in the kernel comes after what was read, though the drain reads it itself."""
    messages: list[bytes] = []

    def received(message: bytes, connection: Connection) -> bytes:
        messages.append(message)
        if message == b"1":
            peer.send(frame(b"3"))
            connection.drain()
        return message

    protocol = Protocol(received=received)
    with attached(loop, protocol) as (peer, _):
        peer.send(frame(b"1") + frame(b"2"))
        turn_until(loop, lambda: len(protocol.events) == 2)
        assert peer.recv(100) == frame(b"1") + frame(b"2") + frame(b"3")
    assert messages == [b"1", b"2", b"3"]
    assert protocol.events == ["connected", "shutdown"]


def test_connections_are_those_that_are_open(loop: EventLoop) -> None:
    protocol = Protocol()
    with attached(loop, protocol) as (_, connection):
        assert list(loop.connections()) == [connection]
        assert connection.established
        connection.close()
        turn_until(loop, lambda: len(protocol.events) == 2)
        assert list(loop.connections()) == []


def test_a_message_that_is_kept_stays_as_it_was(loop: EventLoop) -> None:
    kept: list[bytes | memoryview] = []

    def keep(message: bytes, _: Connection) -> None:  # every other one, each in its own way
        if message[0] % 2:
            kept.append(message if message[0] % 4 == 1 else memoryview(message)[1:])

    stream = b"".join(frame(bytes([number]) * 64) for number in range(200))
    with attached(loop, Protocol(keep)) as (peer, _):
        peer.sendall(stream)
        turn_until(loop, lambda: len(kept) == 100)
    odd = range(1, 200, 2)
    assert kept == [bytes([number]) * (64 if number % 4 == 1 else 63) for number in odd]


def test_a_message_is_found_by_its_value_whatever_came_before(loop: EventLoop) -> None:
    replies = {b"%03d" % number: b"%06d" % number for number in range(200)}
    found: list[bytes] = []

    def find(message: bytes, _: Connection) -> bytes:
        found.append(replies[message])
        return found[-1]

    asked = b"".join(frame(message) for message in replies)
    answer = b"".join(frame(reply) for reply in replies.values())
    with attached(loop, Protocol(find)) as (peer, _):
        peer.sendall(asked)
        turn_until(loop, lambda: len(found) == len(replies))
        received = b""
        while len(received) < len(answer) and (part := peer.recv(len(answer))):
            received += part
        assert received == answer
