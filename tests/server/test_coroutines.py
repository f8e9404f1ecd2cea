"""Async handlers, on both engines, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from epollo.errors import EngineMissing, HandlerError
from tests.engines import ON_EVERY_POLLER, Engine
from tests.logs import Log
from tests.other_loops import Run
from tests.support import DEADLINE, Peer, Recorder, frame

Serving = Callable[..., Server]


@pytest.fixture
def serving(engine: Engine, loop_name: str) -> Serving:
    def make(handler: Any, **settings: Any) -> Server:
        return engine.server(handler, loop=loop_name, **settings)

    return make


class Gate:
    """An async handler whose every call waits for the test to let it go on."""

    def __init__(self) -> None:
        self.begun: queue.Queue[bytes] = queue.Queue()
        self.cancelled: queue.Queue[bytes] = queue.Queue()
        self.ends: queue.Queue[CloseReason] = queue.Queue()
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def received(self, message: bytes, connection: Connection) -> bytes:
        self._loop = asyncio.get_running_loop()
        self._waiting[message] = self._loop.create_future()
        self.begun.put(message)
        try:
            await self._waiting[message]
        except asyncio.CancelledError:
            self.cancelled.put(message)
            raise
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.ends.put(reason)

    def wait(self, *messages: bytes) -> None:
        """Until these have begun, in this order."""
        assert [self.begun.get(timeout=DEADLINE) for _ in messages] == list(messages)

    def free(self, message: bytes, error: Exception | None = None) -> None:
        assert self._loop is not None
        future = self._waiting[message]
        if error is None:
            self._loop.call_soon_threadsafe(future.set_result, None)
        else:
            self._loop.call_soon_threadsafe(future.set_exception, error)


async def plainly(message: bytes) -> bytes:
    return message.upper()


async def late(message: bytes) -> bytes:
    await asyncio.sleep(0)
    return message.upper()


@pytest.mark.parametrize("handler", [plainly, late])
def test_what_it_returns_is_the_reply(serving: Serving, handler: Any) -> None:
    with serving(handler) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frame(b"q%d" % number) for number in range(1000)))
        expected = b"".join(frame(b"Q%d" % number) for number in range(1000))
        assert peer.receive(len(expected)) == expected


def test_what_never_waits_makes_no_task_of_its_own(serving: Serving) -> None:
    tasks: set[asyncio.Task[Any] | None] = set()

    async def handle(message: bytes) -> bytes:
        tasks.add(asyncio.current_task())
        return message

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        for _ in range(100):
            assert peer.ask(b"hello") == b"hello"
        assert len(tasks) == 1
        assert None not in tasks
        tasks.clear()


def test_the_current_task_is_the_same_before_and_after_a_wait(serving: Serving) -> None:
    async def handle(message: bytes) -> bytes:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return b"%d" % (first is not None and first is asyncio.current_task())

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        assert [peer.ask(b"?") for _ in range(3)] == [b"1"] * 3


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_a_timeout_of_the_first_step_ends_its_own_handler_only(
    serving: Serving, seconds: float
) -> None:
    async def handle(message: bytes) -> bytes:
        try:
            async with asyncio.timeout(seconds if message == b"late" else None):
                await (asyncio.Event().wait() if message == b"late" else asyncio.sleep(0))
        except TimeoutError:
            return b"timeout"
        return message

    with serving(handle, in_flight=3) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"soon") + frame(b"late") + frame(b"soon"))
        replies = frame(b"soon") + frame(b"timeout") + frame(b"soon")
        assert peer.receive(len(replies)) == replies


def test_a_group_of_tasks_is_begun_in_the_first_step(serving: Serving) -> None:
    async def handle(message: bytes) -> list[bytes]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(late(message)) for _ in range(3)]
        return [task.result() for task in tasks]

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"x"))
        assert peer.receive(15) == frame(b"X") * 3


def test_a_handler_that_cancels_itself_spoils_nothing_for_the_next(serving: Serving) -> None:
    async def handle(message: bytes) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        if message == b"return":
            task.cancel()
        if message == b"wait":
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return b"cancelled"
        return message

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"return") == b"return"
        assert peer.ask(b"hello") == b"hello"
        assert peer.ask(b"wait") == b"cancelled"
        assert peer.ask(b"hello") == b"hello"


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemError])
def test_what_the_first_step_raises_closes_its_connection_only(
    serving: Serving, log: Log, error: type[BaseException]
) -> None:
    async def handle(message: bytes) -> bytes:
        if message == b"bad":
            raise error
        assert asyncio.current_task() is not None
        return message

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        with Peer(server.addresses[0]) as other:
            other.send(frame(b"bad"))
            assert other.receive_all() == b""
        assert peer.ask(b"hello") == b"hello"
    (line,) = log.take()
    assert "raised, closed 127.0.0.1" in line


def test_outside_of_its_steps_no_task_is_current(serving: Serving) -> None:
    current: queue.Queue[asyncio.Task[Any] | None] = queue.Queue()

    class Handler:
        async def received(self, message: bytes) -> bytes:
            if message == b"wait":
                await asyncio.sleep(0)
            return message

        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            current.put(asyncio.current_task())

    with serving(Handler()) as server:
        for message in (b"now", b"wait"):
            with Peer(server.addresses[0]) as peer:
                assert peer.ask(message) == message
            assert current.get(timeout=DEADLINE) is None


class Several(list[bytes]):
    """A reply that a test can watch."""


def test_nothing_is_kept_of_a_step_that_was_the_last(serving: Serving) -> None:
    replies: list[weakref.ref[Several]] = []

    async def handle(message: bytes, connection: Connection) -> Several:
        reply = Several([message])
        replies.append(weakref.ref(reply))
        return reply

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        for _ in range(3):
            assert peer.ask(b"hello") == b"hello"
        assert peer.ask(b"the last") == b"the last"
        assert [each() for each in replies[:-1]] == [None] * 3


def test_a_context_variable_stays_with_its_message(serving: Serving) -> None:
    variable = contextvars.ContextVar("variable", default=b"none")

    async def handle(message: bytes) -> bytes:
        before = variable.get()
        variable.set(message)
        if message == b"wait":
            await asyncio.sleep(0)
        return before + b" " + variable.get()

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        for message in (b"one", b"wait", b"two"):
            assert peer.ask(message) == b"none " + message


def test_replies_keep_the_order_of_their_messages(serving: Serving) -> None:
    gate = Gate()
    with serving(gate, in_flight=3) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b") + frame(b"c"))
        gate.wait(b"a", b"b", b"c")
        gate.free(b"c")
        gate.free(b"b")
        gate.free(b"a")
        assert peer.receive(15) == frame(b"a") + frame(b"b") + frame(b"c")


@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_stream_that_comes_in_parts_is_answered_in_order(
    serving: Serving, in_flight: int
) -> None:
    async def handle(message: bytes) -> bytes:
        for _ in range(int(message) % 3):
            await asyncio.sleep(0)
        return message

    def send() -> None:
        for start in range(0, len(stream), 50):
            peer.send(stream[start : start + 50])

    stream = b"".join(frame(b"%d" % number) for number in range(2000))
    with serving(handle, in_flight=in_flight) as server, Peer(server.addresses[0]) as peer:
        sender = threading.Thread(target=send)
        sender.start()
        assert peer.receive(len(stream)) == stream
        sender.join()


def test_a_reply_that_is_there_at_once_waits_for_the_one_before(serving: Serving) -> None:
    gate = Gate()

    async def handle(message: bytes, connection: Connection) -> bytes:
        return message if message == b"now" else await gate.received(message, connection)

    with serving(handle, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"now"))
        gate.wait(b"a")
        gate.free(b"a")
        assert peer.receive(12) == frame(b"a") + frame(b"now")


def test_unordered_replies_come_as_they_are_ready(serving: Serving) -> None:
    gate = Gate()
    with serving(gate, in_flight=2, ordered=False) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a", b"b")
        gate.free(b"b")
        assert peer.receive(5) == frame(b"b")
        gate.free(b"a")
        assert peer.receive(5) == frame(b"a")


def test_no_more_than_in_flight_are_handled_at_once(serving: Serving) -> None:
    gate = Gate()
    with serving(gate, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(b"".join(frame(m) for m in (b"a", b"b", b"c", b"d")))
        gate.wait(b"a", b"b")
        gate.free(b"a")
        assert peer.receive(5) == frame(b"a")
        gate.wait(b"c")
        assert gate.begun.empty()  # though d has been read
        for message in (b"b", b"c"):
            gate.free(message)
        gate.wait(b"d")
        gate.free(b"d")
        assert peer.receive(15) == frame(b"b") + frame(b"c") + frame(b"d")


def test_a_peer_is_not_read_while_its_messages_wait(serving: Serving) -> None:
    """The kernel's buffers fill up; nothing is taken into this process."""
    gate = Gate()
    with serving(gate) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a"))
        gate.wait(b"a")
        peer.socket.setblocking(False)
        more, sent = frame(bytes(1000)) * 100, 0
        try:
            while sent < 64 << 20:
                sent += peer.socket.send(more)
        except BlockingIOError:
            pass
        assert sent < 64 << 20
        peer.reset()
        assert gate.ends.get(timeout=DEADLINE) is CloseReason.RESET


def test_another_connection_is_served_meanwhile(serving: Serving) -> None:
    gate = Gate()

    async def handle(message: bytes, connection: Connection) -> bytes:
        return await gate.received(message, connection) if message == b"slow" else message

    with serving(handle) as server, Peer(server.addresses[0]) as slow:
        slow.send(frame(b"slow"))
        gate.wait(b"slow")
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"quick") == b"quick"
        gate.free(b"slow")
        assert slow.receive(8) == frame(b"slow")


def test_a_reset_cancels_what_waits(serving: Serving) -> None:
    gate = Gate()
    with serving(gate, in_flight=2) as server:
        peer = Peer(server.addresses[0])
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a", b"b")
        peer.reset()
        assert {gate.cancelled.get(timeout=DEADLINE) for _ in range(2)} == {b"a", b"b"}
        assert gate.ends.get(timeout=DEADLINE) is CloseReason.RESET


def test_a_half_closed_peer_gets_all_that_it_asked_for(serving: Serving) -> None:
    gate = Gate()
    with serving(gate, in_flight=2) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b") + frame(b"c"))
        peer.end()
        for message in (b"a", b"b", b"c"):
            gate.wait(message)
            gate.free(message)
        assert peer.receive_all() == frame(b"a") + frame(b"b") + frame(b"c")
        assert gate.ends.get(timeout=DEADLINE) is CloseReason.EOF


def test_a_close_by_a_handler_that_has_waited_is_behind_its_reply(serving: Serving) -> None:
    async def handle(message: bytes, connection: Connection) -> bytes:
        await asyncio.sleep(0)
        connection.close()
        await asyncio.sleep(0)
        return message

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"bye") + frame(b"not heard"))
        assert peer.receive_all() == frame(b"bye")


def test_a_drain_waits_for_what_is_in_flight(serving: Serving) -> None:
    gate = Gate()
    with serving(gate) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"b"))
        gate.wait(b"a")
        server.stop()
        gate.free(b"a")
        gate.wait(b"b")
        gate.free(b"b")
        assert peer.receive_all() == frame(b"a") + frame(b"b")
    assert gate.cancelled.empty()


def test_a_drain_by_a_handler_that_has_waited_answers_what_has_arrived(serving: Serving) -> None:
    waited, sent = threading.Event(), threading.Event()

    async def handle(message: bytes) -> bytes:
        if message == b"drain":
            await asyncio.sleep(0)
            waited.set()
            assert sent.wait(DEADLINE)  # holds the loop, so that nothing is read meanwhile
            for connection in server.connections:
                connection.drain()
        return message

    with (
        serving(handle, slow_handler=0) as server,
        Peer(server.addresses[0]) as peer,
        Peer(server.addresses[0]) as other,
    ):
        assert other.ask(b"a") == b"a"
        peer.send(frame(b"drain"))
        assert waited.wait(DEADLINE)
        other.send(frame(b"b"))
        sent.set()
        assert other.receive_all() == frame(b"b")
        assert peer.receive_all() == frame(b"drain")


def test_what_waits_longer_than_the_grace_is_cancelled(serving: Serving) -> None:
    gate = Gate()
    with serving(gate) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a"))
        gate.wait(b"a")
        server.stop(grace=0.01)
        assert gate.cancelled.get(timeout=DEADLINE) == b"a"
        assert gate.ends.get(timeout=DEADLINE) is CloseReason.SHUTDOWN


@pytest.mark.parametrize("waits", [True, False])
def test_an_exception_closes_its_connection_behind_earlier_replies(
    serving: Serving, log: Log, waits: bool
) -> None:
    gate = Gate()

    async def handle(message: bytes, connection: Connection) -> bytes:
        if message == b"bad" and not waits:
            raise ValueError(message)
        return await gate.received(message, connection)

    with serving(handle, in_flight=3) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"a") + frame(b"bad") + frame(b"never"))
        gate.wait(b"a")
        if waits:
            gate.wait(b"bad")
            gate.free(b"bad", ValueError("bad"))
        gate.wait(b"never")
        gate.free(b"a")
        assert peer.receive_all() == frame(b"a")
        assert gate.cancelled.get(timeout=DEADLINE) == b"never"
        with Peer(server.addresses[0]) as other:
            other.send(frame(b"b"))
            gate.wait(b"b")
            gate.free(b"b")
            assert other.receive(5) == frame(b"b")
    (line,) = log.take()
    assert "raised, closed 127.0.0.1" in line


class Told:
    """Everything async, and told in order."""

    def __init__(self) -> None:
        self.told: queue.Queue[str] = queue.Queue()

    async def started(self, server: Server) -> None:
        await asyncio.sleep(0)
        self.told.put("started")

    async def connected(self, connection: Connection) -> None:
        self.told.put("connecting")
        await asyncio.sleep(0.01)
        await connection_ready(connection)
        self.told.put("connected")

    async def received(self, message: bytes, connection: Connection) -> bytes:
        self.told.put(f"received {message.decode()}")
        try:
            await asyncio.sleep(3600 if message == b"for ever" else 0)
        finally:
            self.told.put("answered")
        return message

    async def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        await asyncio.sleep(0)
        self.told.put(f"disconnected {reason}")

    async def stopped(self, server: Server) -> None:
        await asyncio.sleep(0)
        self.told.put("stopped")

    def all(self) -> list[str]:
        return [self.told.get(timeout=DEADLINE) for _ in range(self.told.qsize())]


async def connection_ready(connection: Connection) -> None:
    connection.state = "ready"


@pytest.mark.parametrize("in_flight", [1, 3])
def test_what_a_handler_is_told_comes_in_order(serving: Serving, in_flight: int) -> None:
    told = Told()
    with serving(told, in_flight=in_flight) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"a") == b"a"
        peer.end()
        peer.receive_all()
    assert told.all() == [
        "started", "connecting", "connected", "received a", "answered", "disconnected eof",
        "stopped",
    ]  # fmt: skip


def test_disconnected_and_stopped_come_behind_what_was_cancelled(serving: Serving) -> None:
    told = Told()
    with serving(told) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"for ever"))
        while told.told.get(timeout=DEADLINE) != "received for ever":
            pass
        server.stop(grace=0)
    assert told.all() == ["answered", "disconnected shutdown", "stopped"]


def test_a_plain_received_waits_for_an_async_connected(serving: Serving) -> None:
    class Mixed:
        async def connected(self, connection: Connection) -> None:
            await asyncio.sleep(0)
            connection.state = b"ready"

        def received(self, message: bytes, connection: Connection) -> Any:
            return connection.state

    with serving(Mixed(), in_flight=2) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"?") == b"ready"


def test_nothing_is_left_on_the_callers_loop(serving: Serving, run: Run) -> None:
    """`serve` on a loop that goes on: all that it made is gone when it has ended."""
    gate = Gate()

    async def main() -> None:
        server = serving(gate)
        server.start()
        task = asyncio.create_task(server.serve())
        reader, writer = await asyncio.open_connection(*_host_and_port(server))
        writer.write(frame(b"a"))
        while gate.begun.empty():
            await asyncio.sleep(0)
        gate.free(b"a")
        assert await reader.readexactly(5) == frame(b"a")
        writer.write(frame(b"b"))
        while gate.begun.qsize() < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.cancelled.get_nowait() == b"b"
        assert gate.ends.get_nowait() is CloseReason.SHUTDOWN
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    run(main())


def test_a_plain_handler_is_served_on_the_callers_loop_too(engine: Engine, run: Run) -> None:
    async def main() -> None:
        server = engine.server(Recorder())
        server.start()
        task = asyncio.create_task(server.serve())
        reader, writer = await asyncio.open_connection(*_host_and_port(server))
        writer.write(frame(b"a"))
        assert await reader.readexactly(5) == frame(b"a")
        server.stop()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await task

    run(main())


def _host_and_port(server: Server) -> tuple[str, int]:
    host, _, port = server.addresses[0].rpartition(":")
    return host, int(port)


def test_a_send_from_a_handler_precedes_its_reply(serving: Serving) -> None:
    async def handle(message: bytes, connection: Connection) -> bytes:
        connection.send(b"1")
        await asyncio.sleep(0)
        connection.send(b"2")
        await asyncio.to_thread(connection.send, b"3")
        return b"4"

    with serving(handle) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"?"))
        assert peer.receive(20) == b"".join(frame(b"%d" % n) for n in (1, 2, 3, 4))


@pytest.mark.parametrize(
    "engine", [each for each in ON_EVERY_POLLER if not each.is_descriptor], ids=str
)
def test_a_poller_that_is_no_descriptor_is_refused_in_one_line(engine: Engine) -> None:
    with pytest.raises(EngineMissing, match=f"a loop on {engine.poller} is no descriptor"):
        engine.server(plainly, loop="asyncio").start()  # before it says that it is ready


def test_an_async_handler_takes_no_threads() -> None:
    with pytest.raises(HandlerError, match=r"is async, and threads=2 .*; set threads=0"):
        Server(plainly, threads=2)


def test_threads_are_the_same_before_and_after(serving: Serving) -> None:
    before = threading.active_count()
    with serving(late) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"a") == b"A"
        assert threading.active_count() == before + 2, "its own, and the one that watches the loop"
