"""What a handler sees in memory is what it sees on a server, in the cases that are easy to miss."""

from __future__ import annotations

import asyncio
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from epollo import CloseReason, Connection, framing, testing
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, Recorder, frame, until


class AsSent(framing.Framing):
    """u32 frames, made by whoever sends them: so a test can send what is no frame."""

    def __init__(self) -> None:
        super().__init__("as sent", 64)

    def encode(self, message: framing.Buffer) -> bytes:
        return bytes(message)

    def decoder(self) -> framing.Decoder:
        return framing.parse("u32", self.max_frame).decoder()


class Logged(Recorder):
    """Does what its messages say, and remembers its calls."""

    def __init__(self, fails_in: str = "") -> None:
        super().__init__()
        self.calls: list[object] = []
        self.fails_in = fails_in

    def connected(self, connection: Any) -> None:
        self.record("connected", "connected")
        super().connected(connection)

    def received(self, message: bytes, connection: Any) -> Any:
        self.record("received", message)
        match message:
            case b"pause":
                connection.pause_reading()
            case b"close":
                connection.close()
                return [frame(b"closing"), frame(b"closed")]
            case b"abort":
                connection.abort()
            case b"drain":
                connection.drain()
            case b"defer":
                connection.defer()
                return None
            case b"push":
                connection.send(frame(b"pushed"))
        return frame(message)

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        try:
            self.record("disconnected", reason)
        finally:
            super().disconnected(connection, reason)

    def record(self, hook: str, call: object) -> None:
        self.calls.append(call)
        if hook == self.fails_in:
            raise LookupError(hook)


class Side(ABC):
    """A peer of the handler, in memory or at a server."""

    handler: Logged
    connection: Any

    @abstractmethod
    def send(self, data: bytes) -> None: ...
    @abstractmethod
    def end(self) -> None:
        """End the stream to the handler."""

    @abstractmethod
    def call(self, action: Callable[[], object]) -> None:
        """Make a call of the connection where it may be made: in its loop."""

    @abstractmethod
    def await_calls(self, count: int) -> None: ...
    @abstractmethod
    def received_all(self) -> bytes:
        """Everything that the handler has sent, once the connection is closed."""


class InMemory(Side):
    def __init__(self, handler: Logged, connection: testing.MemoryConnection) -> None:
        self.handler, self.connection = handler, connection

    def send(self, data: bytes) -> None:
        try:
            self.connection.receive(data)
        except LookupError as error:
            error.__traceback__ = None

    def end(self) -> None:
        self.connection.end()

    def call(self, action: Callable[[], object]) -> None:
        action()

    def await_calls(self, count: int) -> None:
        assert len(self.handler.calls) == count

    def received_all(self) -> bytes:
        assert self.connection.closed
        return b"".join(map(frame, self.connection.sent))


class Served(Side):
    def __init__(self, handler: Logged, peer: Peer) -> None:
        self.handler, self.peer = handler, peer
        self.connection = handler.connection()

    def send(self, data: bytes) -> None:
        self.peer.send(data)

    def end(self) -> None:
        self.peer.end()

    def call(self, action: Callable[[], object]) -> None:
        self.connection.loop.call_threadsafe(action)

    def await_calls(self, count: int) -> None:
        until(lambda: len(self.handler.calls) >= count)

    def received_all(self) -> bytes:
        received = self.peer.receive_all()
        try:
            self.peer.end()  # a server that has not read everything waits for it
        except OSError:  # it is closed
            pass
        self.handler.end()
        return received


@contextmanager
def in_memory() -> Iterator[InMemory]:
    handler = Logged()
    with testing.connect(handler, AsSent()) as connection:
        yield InMemory(handler, connection)


@contextmanager
def served(engine: Engine) -> Iterator[Served]:
    handler = Logged()
    with (
        engine.server(handler, framing=AsSent()) as server,
        Peer(server.addresses[0]) as peer,
    ):
        yield Served(handler, peer)


def half_close_with_a_reply_due(side: Side) -> None:
    side.send(frame(b"defer") + frame(b"next"))
    side.end()
    side.await_calls(2)
    assert not side.connection.closed
    side.call(lambda: side.connection.answer(frame(b"late")))


def half_close_while_paused(side: Side) -> None:
    side.send(frame(b"pause") + frame(b"next"))
    side.end()
    side.await_calls(2)
    side.call(lambda: side.connection.send(frame(b"pushed")))
    side.call(lambda: side.connection.resume_reading())


def pause_and_resume(side: Side) -> None:
    side.send(frame(b"pause") + frame(b"1") + frame(b"2"))
    side.await_calls(2)
    side.send(frame(b"3"))
    side.call(lambda: side.connection.resume_reading())
    side.await_calls(5)
    side.end()


def close_before_a_reply(side: Side) -> None:
    side.send(frame(b"push") + frame(b"close") + frame(b"never"))


def close_while_paused(side: Side) -> None:
    side.send(frame(b"pause") + frame(b"never"))
    side.await_calls(2)
    side.send(frame(b"unread"))
    side.call(lambda: side.connection.close())


def close_with_a_reply_due(side: Side) -> None:
    side.send(frame(b"defer"))
    side.await_calls(2)
    side.call(lambda: side.connection.close())
    side.call(lambda: side.connection.answer([frame(b"1"), frame(b"2")]))


def abort(side: Side) -> None:
    side.send(frame(b"lost") + frame(b"abort") + frame(b"never"))


def abort_with_a_reply_due(side: Side) -> None:
    side.send(frame(b"defer"))
    side.await_calls(2)
    side.call(lambda: side.connection.abort())
    side.call(lambda: side.connection.answer(frame(b"never")))


def drain(side: Side) -> None:
    side.send(frame(b"drain") + frame(b"behind"))


def oversized_frame(side: Side) -> None:
    side.send(frame(b"whole") + struct.pack(">I", 65))


def truncated_frame(side: Side) -> None:
    side.send(frame(b"whole") + frame(b"cut")[:-1])
    side.end()


def error_in_received(side: Side) -> None:
    side.handler.fails_in = "received"
    side.send(frame(b"ask") + frame(b"never"))


def error_in_disconnected(side: Side) -> None:
    side.handler.fails_in = "disconnected"
    side.send(frame(b"ask"))
    side.await_calls(2)
    try:
        side.end()
    except LookupError as error:
        error.__traceback__ = None


def error_of_a_late_reply(side: Side) -> None:
    side.send(frame(b"defer"))
    side.await_calls(2)
    try:
        side.call(lambda: side.connection.answer("no bytes"))
    except TypeError as error:
        error.__traceback__ = None


SCENES = [
    half_close_with_a_reply_due,
    half_close_while_paused,
    pause_and_resume,
    close_before_a_reply,
    close_while_paused,
    close_with_a_reply_due,
    abort,
    abort_with_a_reply_due,
    drain,
    oversized_frame,
    truncated_frame,
    error_in_received,
    error_in_disconnected,
    error_of_a_late_reply,
]


@pytest.mark.parametrize("scene", SCENES, ids=[scene.__name__ for scene in SCENES])
def test_a_scene_goes_as_on_a_server(
    engine: Engine, log: Log, scene: Callable[[Side], None]
) -> None:
    with in_memory() as memory:
        scene(memory)
        expected = memory.received_all(), memory.handler.calls
        memory.connection.error = None
    assert log.take() == []
    with served(engine) as server:
        scene(server)
        assert (server.received_all(), server.handler.calls) == expected
    assert len(log.take()) == ("error" in scene.__name__)


def test_an_error_in_connected_goes_as_on_a_server(engine: Engine, log: Log) -> None:
    in_memory, served = Logged("connected"), Logged("connected")
    connection = testing.connect(in_memory)
    with pytest.raises(LookupError), connection:
        pass
    assert connection.closed
    connection.error = None
    with engine.server(served) as server, Peer(server.addresses[0]) as peer:
        assert peer.receive_all() == b""
        served.end()
    assert in_memory.calls == served.calls == ["connected", CloseReason.HANDLER_ERROR]
    assert len(log.take()) == 1


@pytest.mark.parametrize("reason", [CloseReason.RESET, CloseReason.IDLE_TIMEOUT])
def test_a_reply_that_is_due_is_sent_behind_an_end_unless_the_peer_is_gone(
    reason: CloseReason,
) -> None:
    with testing.connect(Logged(), AsSent()) as connection:
        connection.receive(frame(b"defer"))
        connection.end(reason)
        assert connection.closed == (reason is CloseReason.RESET)
        connection.answer(frame(b"late"))
        assert connection.sent == ([] if reason is CloseReason.RESET else [b"late"])
        assert connection.closed
        assert connection.reason is reason


def test_of_several_errors_each_is_the_context_of_the_next() -> None:
    class Failing(Logged):
        def disconnected(self, connection: Connection, reason: CloseReason) -> None:
            raise ZeroDivisionError

    with testing.connect(Failing("received")) as connection:
        with pytest.raises(ZeroDivisionError) as raised:
            connection.receive(b"ask")
        assert raised.value.__context__ is connection.error
        assert isinstance(connection.error, LookupError)
        connection.error = None


class AsyncCommand(Recorder):
    """Does what its messages say; the first step of its coroutine ends where it waits."""

    async def received(self, message: bytes, connection: Any) -> Any:
        for word in message.decode().split():
            match word:
                case "wait":
                    await asyncio.sleep(0)
                case "send":
                    connection.send(b"sent")
                case "close":
                    connection.close()
                case "abort":
                    connection.abort()
                case "raise":
                    raise LookupError(word)
                case "timeout":
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
        return str(connection.in_flight).encode()


@pytest.mark.parametrize(
    "message",
    ["", "wait", "send", "wait send", "send abort", "wait send abort", "send wait abort",
     "close send", "close", "wait close", "close wait", "abort wait raise", "wait raise",
     "send raise", "wait send raise", "timeout"],
)  # fmt: skip
def test_an_async_handler_goes_as_on_a_server(engine: Engine, log: Log, message: str) -> None:
    async def in_memory() -> tuple[bytes, CloseReason]:
        handler = AsyncCommand()
        async with testing.connect(handler) as connection:
            try:
                await connection.receive_async(message.encode())
            except Exception as error:
                error.__traceback__ = connection.error = None
        return b"".join(map(frame, connection.sent)), handler.end()

    expected = asyncio.run(in_memory())
    handler = AsyncCommand()
    with (
        engine.server(handler, loop="asyncio") as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(message.encode()))
        peer.end()
        assert (peer.receive_all(), handler.end()) == expected
    log.take()


def test_async_handlers_run_at_once_up_to_in_flight_and_answer_in_order() -> None:
    begun: list[bytes] = []
    both_begun = asyncio.Event()

    async def handle(message: bytes) -> bytes:
        begun.append(message)
        if len(begun) == 2:
            both_begun.set()
            return message
        await both_begun.wait()
        return message

    async def scene() -> None:
        async with testing.connect(handle, in_flight=2) as connection:
            await asyncio.gather(*[connection.receive_async(each) for each in (b"1", b"2", b"3")])
            assert connection.sent == begun == [b"1", b"2", b"3"]

    asyncio.run(scene())


def test_an_async_handler_at_work_is_cancelled_when_the_block_ends() -> None:
    ends: list[str] = []

    class Stuck(Recorder):
        async def received(self, message: bytes, connection: Connection) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("received")

        async def disconnected(  # type: ignore[override]
            self, connection: Connection, reason: CloseReason
        ) -> None:
            ends.append(f"disconnected {reason}")

    async def scene() -> None:
        async with testing.connect(Stuck()) as connection:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.receive_async(b""), 0.01)
            assert connection.in_flight == 1
        connection.close()

    asyncio.run(scene())
    assert ends == ["received", "disconnected eof"]
