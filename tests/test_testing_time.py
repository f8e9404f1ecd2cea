"""In memory, a test has the clock, the bytes of the wire, and the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed, UsageError, testing
from tests.support import Recorder, frame


class KeptAlive(Recorder):
    """Asks after ten seconds of silence, and has an idle timeout of its own if it is told to."""

    def received(self, message: bytes, connection: Any) -> bytes:
        if message == b"idle":
            connection.idle_timeout = 60
        if connection.state is not None:
            connection.state.cancel()
        connection.state = connection.call_later("10s", connection.send, b"there?")
        return b"thanks"


def test_calls_are_made_when_their_time_has_come() -> None:
    with testing.connect(KeptAlive()) as connection:
        assert connection.receive(b"") == [b"thanks"]
        assert connection.advance(9.5) == []
        assert connection.receive(b"") == [b"thanks"]
        assert connection.advance("9s") == []
        assert connection.advance(1) == [b"there?"]
        assert connection.advance(1000) == []


def test_calls_are_made_one_by_one_in_the_order_of_their_times() -> None:
    def handle(message: bytes, connection: Connection) -> None:
        def tick(number: int) -> None:
            connection.send(b"%d" % number)
            connection.call_later(2, tick, number + 2)

        connection.call_later(1, tick, 1)
        connection.call_later(2, tick, 2)
        connection.call_later(0, connection.send, b"0")

    with testing.connect(handle) as connection:
        assert connection.receive(b"") == [b"0"]
        assert connection.advance(5) == [b"1", b"2", b"3", b"4", b"5"]


def test_the_time_is_as_exact_as_the_numbers_that_tests_write() -> None:
    for steps in (10, 3, 7, 30):
        with testing.connect(lambda _: None) as connection:
            connection.advance(0.1)
            call = connection.call_later(steps / 10, connection.send, b"now")
            for _ in range(steps - 1):
                assert connection.advance(0.1) == []
            assert connection.advance(0.1) == [b"now"]
            assert call.cancelled


def test_what_a_call_raises_ends_the_connection_and_is_raised() -> None:
    def fail() -> None:
        raise LookupError("late")

    handler = Recorder()
    with testing.connect(handler) as connection:
        connection.call_later(1, fail)
        kept = connection.call_later(2, fail)
        with pytest.raises(LookupError, match="late"):
            connection.advance(3)
        assert handler.ends.get_nowait() is CloseReason.HANDLER_ERROR
        assert kept.cancelled
        connection.error = None


def test_calls_that_follow_each_other_with_no_delay_are_an_error() -> None:
    def again() -> None:
        connection.call_later(0, again)

    with testing.connect(lambda _: None) as connection:
        again()
        with pytest.raises(RuntimeError, match="endlessly"):
            connection.advance(1)


@pytest.mark.parametrize("delay", [-1, "soon", True, float("inf")])
def test_a_time_that_is_none(delay: Any) -> None:
    with (
        testing.connect(lambda _: None) as connection,
        pytest.raises(UsageError, match="advance"),
    ):
        connection.advance(delay)


def test_idle_timeouts_pass() -> None:
    handler = KeptAlive()
    with testing.connect(handler, idle_timeout=30) as connection:
        assert connection.idle_timeout == 30
        connection.advance(29)
        connection.receive(b"")
        connection.advance(9)
        assert connection.advance(2) == [b"there?"]
        connection.advance(29)
        assert not connection.closed
        connection.receive(b"idle")
        connection.advance(10)
        connection.advance(59)
        assert not connection.closed, "it has its own now"
        connection.advance(2)
        assert handler.ends.get_nowait() is CloseReason.IDLE_TIMEOUT
        assert connection.advance(1) == []
        with pytest.raises(ConnectionClosed):
            connection.receive(b"late")


def test_a_frame_has_to_come_in_time() -> None:
    with testing.connect(lambda _: None, frame_timeout="2s") as connection:
        connection.receive_bytes(frame(b"hello")[:-1])
        connection.advance(1.9)
        assert not connection.closed
        connection.advance(1)
        assert connection.reason is CloseReason.FRAME_TIMEOUT


def test_bytes_come_as_on_the_wire() -> None:
    stream = frame(b"one") + frame(b"two")
    for size in range(len(stream) + 1):
        with testing.connect(lambda message: message) as connection:
            first = connection.receive_bytes(stream[:size])
            assert first + connection.receive_bytes(bytearray(stream[size:])) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("framing", "data", "reason"),
    [
        ("netstring", b"3:one,x", CloseReason.BAD_FRAME),
        ("u32", b"\xff\xff\xff\xff", CloseReason.FRAME_TOO_LARGE),
        ("u32", b"\0\0", CloseReason.TRUNCATED),
    ],
)
def test_bytes_that_are_no_frames_end_the_connection(
    framing: str, data: bytes, reason: CloseReason
) -> None:
    handler = Recorder()
    with testing.connect(handler, framing=framing) as connection:
        connection.receive_bytes(data)
        connection.end()
        assert handler.ends.get_nowait() is reason
        with pytest.raises(ConnectionClosed):
            connection.receive_bytes(b"more")


class Announcing(Recorder):
    """Publishes the time every second."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def started(self, server: Any) -> None:
        self.calls.append("started")
        self.server = server
        server.call_later(1, self.tick)

    def tick(self) -> None:
        self.server.publish("time", b"tick")
        self.server.call_later(1, self.tick)

    def connected(self, connection: Connection) -> None:
        self.calls.append("connected")
        connection.join("time")

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.calls.append("disconnected")

    def stopped(self, server: Any) -> None:
        assert server is self.server
        self.calls.append("stopped")


def test_the_handler_has_a_server() -> None:
    handler = Announcing()
    with testing.connect(handler, max_unsent="1MiB") as connection:
        assert handler.server is connection.server
        assert connection.server.settings.max_unsent == 1 << 20
        assert connection.server.connections == {connection}
        assert connection.advance(3) == [b"tick"] * 3
        connection.server.publish("time", b"now")
        connection.server.publish("time", b"not you", exclude=connection)
        connection.server.publish("others", b"not you")
        assert connection.sent[3:] == [b"now"]
        connection.end()
        assert connection.server.connections == frozenset()
        assert connection.advance(3) == []
    assert handler.calls == ["started", "connected", "disconnected", "stopped"]


def test_what_a_call_of_the_server_raises_is_raised_and_ends_no_connection() -> None:
    with testing.connect(lambda message: message) as connection:
        connection.server.call_later(1, [].pop)
        with pytest.raises(IndexError):
            connection.advance(1)
        assert connection.receive(b"open") == [b"open"]


def test_the_end_of_the_block_is_the_end_of_all_calls() -> None:
    with testing.connect(lambda _: None) as connection:
        calls = [
            connection.call_later(1, print),
            connection.server.call_later(1, print),
        ]
    assert all(call.cancelled for call in calls)


@pytest.mark.parametrize("hook", ["started", "connected"])
def test_an_error_at_the_start_is_raised(hook: str) -> None:
    handler = Announcing()

    def fail(_: object) -> None:
        raise LookupError(hook)

    setattr(handler, hook, fail)
    connection = testing.connect(handler)
    with pytest.raises(LookupError, match=hook), connection:
        pass
    assert handler.calls == ([] if hook == "started" else ["started", "disconnected", "stopped"])
    connection.error = None


class Streaming:
    """All of it is async."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def started(self, server: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append("started")

    async def received(self, message: bytes, connection: Connection) -> bytes:
        if message == b"stream":
            connection.create_task(self.stream(connection))
        elif message == b"forever":
            connection.create_task(self.forever(), name="forever")
        elif message == b"wait":
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            connection.call_later(5, future.set_result, b"waited")
            return await future
        elif message == b"raise":
            connection.create_task(self.fail())
        return message

    async def stream(self, connection: Connection) -> None:
        for number in range(3):
            connection.send(bytes([number]) * 100_000)
            await connection.writable()

    async def forever(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.calls.append("cancelled")

    async def fail(self) -> None:
        raise LookupError("in a task")

    async def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.calls.append("disconnected")

    async def stopped(self, server: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append("stopped")


def test_async_handlers_have_all_of_it() -> None:
    handler = Streaming()

    async def scene() -> None:
        async with testing.connect(handler, idle_timeout=30) as connection:
            assert await connection.receive_bytes_async(frame(b"a")[:2]) == []
            assert await connection.receive_bytes_async(frame(b"a")[2:]) == [b"a"]
            assert await connection.receive_async(b"forever") == [b"forever"]
            waiting = asyncio.create_task(connection.receive_async(b"wait"))
            await asyncio.sleep(0)
            assert await connection.advance_async(4) == []
            assert await connection.advance_async(1) == [b"waited"]
            assert await waiting == [b"waited"]
            await connection.receive_async(b"stream")
            assert len(connection.sent) == 4
            await connection.advance_async(0)
            assert [len(message) for message in connection.sent[4:]] == [100_000] * 3
            with pytest.raises(UsageError, match="is for a with block"):
                connection.advance(1)
            assert "cancelled" not in handler.calls
            await connection.advance_async(31)
            assert connection.reason is CloseReason.IDLE_TIMEOUT

    asyncio.run(scene())
    assert handler.calls == ["started", "cancelled", "disconnected", "stopped"]


def test_what_a_task_raises_is_raised() -> None:
    async def scene() -> None:
        async with testing.connect(Streaming()) as connection:
            await connection.receive_async(b"raise")
            with pytest.raises(LookupError, match="in a task"):
                await connection.advance_async(0)
            assert connection.reason is CloseReason.HANDLER_ERROR
            connection.error = None

    asyncio.run(scene())


def test_a_handler_without_async_functions_has_no_tasks() -> None:
    async def nothing() -> None: ...

    with (
        testing.connect(lambda _: None) as connection,
        pytest.raises(UsageError, match="has no async function"),
    ):
        connection.create_task(nothing())
