"""Tasks of connections, and coroutines that wait until their peer has taken enough."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed, Server, UsageError
from epollo.engine import EventLoop
from tests.engine.support import Protocol, attached
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, Recorder, frame, until

Serving = Callable[..., Server]


@pytest.fixture
def serving(engine: Engine, loop_name: str) -> Serving:
    def make(handler: Any, **settings: Any) -> Server:
        return engine.server(handler, loop=loop_name, **settings)

    return make


class Acting(Recorder):
    """Awaits what the test says with the connection of each message."""

    def __init__(self, act: Callable[[bytes, Connection], Any]) -> None:
        super().__init__()
        self.act = act
        self.noted: queue.Queue[object] = queue.Queue()

    async def received(self, message: bytes, connection: Connection) -> Any:
        await self.act(message, connection)
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.noted.put("disconnected")
        super().disconnected(connection, reason)


async def nothing() -> None:
    pass


@pytest.mark.parametrize("how", ["end", "reset", "abort", "stop"])
def test_a_task_is_cancelled_with_its_connection(serving: Serving, how: str) -> None:
    """``disconnected`` comes when it has ended."""

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            recorder.noted.put("cancelled")
            raise

    async def act(message: bytes, connection: Connection) -> None:
        if message == b"abort":
            connection.abort()
        else:
            connection.create_task(work())

    recorder = Acting(act)
    with serving(recorder) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
        match how:
            case "end":
                peer.end()
            case "reset":
                peer.reset()
            case "abort":
                peer.send(frame(b"abort"))
            case "stop":
                server.stop(0)
        recorder.end()
    assert [recorder.noted.get(), recorder.noted.get()] == ["cancelled", "disconnected"]
    assert recorder.noted.empty()


def test_a_task_runs_beside_the_messages_and_returns_its_result(serving: Serving) -> None:
    tasks: list[asyncio.Task[int]] = []

    async def work(connection: Connection) -> int:
        connection.send(b"from the task")
        await asyncio.sleep(0)
        return 7

    async def act(message: bytes, connection: Connection) -> None:
        if message == b"begin":
            tasks.append(connection.create_task(work(connection), name="mine"))
        else:
            assert await tasks[0] == 7
            assert tasks[0].get_name() == "mine"

    with serving(Acting(act)) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"begin") == b"begin"
        assert peer.message() == b"from the task"
        assert peer.ask(b"await") == b"await"


def test_a_cancelled_task_ends_nothing(serving: Serving) -> None:
    """Not even one that has not begun."""

    async def act(message: bytes, connection: Connection) -> None:
        unbegun = connection.create_task(asyncio.sleep(3600))
        unbegun.cancel()
        begun = connection.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        begun.cancel()

    with serving(Acting(act)) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"one") == b"one"
        assert peer.ask(b"two") == b"two"


def test_a_task_of_a_connection_that_closes_at_once_never_begins(serving: Serving) -> None:
    async def act(message: bytes, connection: Connection) -> None:
        connection.create_task(nothing())
        connection.abort()
        with pytest.raises(ConnectionClosed, match="too late for create_task"):
            connection.create_task(nothing())

    recorder = Acting(act)
    with serving(recorder) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"hello"))
        assert peer.receive_until_gone() == b""
        assert recorder.end() is CloseReason.LOCAL


def test_a_task_that_is_told_of_the_end_is_no_fault(serving: Serving) -> None:
    async def beat(connection: Connection) -> None:
        while True:
            connection.send(b"beat")
            await asyncio.sleep(0)

    async def act(message: bytes, connection: Connection) -> None:
        connection.create_task(beat(connection))
        await asyncio.sleep(0)
        connection.close()

    recorder = Acting(act)
    with serving(recorder) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"hello"))
        assert frame(b"hello") in peer.receive_all()
        assert recorder.end() is CloseReason.LOCAL


@pytest.mark.parametrize("mode", [{}, {"threads": 2}], ids=["plain", "threads"])
def test_a_plain_handler_has_no_tasks(engine: Engine, log: Log, mode: Any) -> None:
    errors: queue.Queue[BaseException | None] = queue.Queue()

    class Plain(Recorder):
        def received(self, message: bytes, connection: Connection) -> Any:
            try:
                connection.create_task(nothing())
            except UsageError as error:
                errors.put(error)
                raise

    with engine.server(Plain(), **mode) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"hello"))
        assert peer.receive_all() == b""
        assert str(errors.get(timeout=DEADLINE)).startswith("create_task: handler 'Plain' has no")
    log.take()


def test_what_is_no_coroutine_is_refused(loop: EventLoop) -> None:
    with attached(loop, Protocol()) as (_, connection):
        with pytest.raises(UsageError, match=r"create_task: .* is no coroutine"):
            connection.create_task(nothing)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="not served by an event loop of asyncio"):
            connection.create_task(nothing())
        connection.abort()


def test_a_sender_waits_until_its_peer_takes_enough(serving: Serving) -> None:
    """Of a reply without end, what waits is bounded, and what the peer has taken is not."""
    size, most = 8 << 10, [0]

    async def act(message: bytes, connection: Connection) -> None:
        for _ in range(4096):
            connection.send(bytes(size))
            await connection.writable()
            most[0] = max(most[0], connection.unsent)

    high_water = 64 << 10
    with serving(Acting(act), high_water=high_water) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"all"))
        for _ in range(4096):
            assert len(peer.message()) == size
        assert peer.message() == b"all"
    assert most[0] <= high_water // 2


def test_a_sender_is_told_when_its_peer_leaves(serving: Serving) -> None:
    told: queue.Queue[BaseException] = queue.Queue()

    async def flood(connection: Connection) -> None:
        try:
            while True:
                connection.send(bytes(64 << 10))
                await connection.writable()
        except BaseException as error:
            told.put(error)
            raise

    async def act(message: bytes, connection: Connection) -> None:
        connection.create_task(flood(connection))

    recorder = Acting(act)
    with serving(recorder) as server:
        with Peer(server.addresses[0]) as peer:
            peer.send(frame(b"all"))
            peer.receive(4)
            loop: Any = server._loop
            until(lambda: loop.writers)
            peer.reset()
        recorder.end()
        assert isinstance(told.get(timeout=DEADLINE), ConnectionClosed | asyncio.CancelledError)
        until(lambda: not loop.writers)


def test_who_gives_up_waiting_leaves_nothing(serving: Serving) -> None:
    async def act(message: bytes, connection: Connection) -> None:
        connection.send(bytes(8 << 20))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.writable(), 0.001)
        waiting.set()
        await connection.writable()

    waiting = threading.Event()
    with (
        serving(Acting(act), max_frame="16MiB") as server,
        Peer(server.addresses[0]) as peer,
    ):
        loop: Any = server._loop
        peer.send(frame(b"all"))
        assert waiting.wait(DEADLINE)
        assert len(peer.message()) == 8 << 20
        assert peer.message() == b"all"
        assert not loop.writers


def test_another_thread_cannot_wait(serving: Serving, log: Log) -> None:
    async def act(message: bytes, connection: Connection) -> None:
        if message == b"writable":
            await asyncio.to_thread(asyncio.run, connection.writable())
        else:
            await asyncio.to_thread(connection.create_task, nothing())

    recorder = Acting(act)
    with serving(recorder) as server:
        for message in (b"writable", b"create_task"):
            with Peer(server.addresses[0]) as peer:
                peer.send(frame(message))
                assert peer.receive_all() == b""
            assert recorder.end() is CloseReason.HANDLER_ERROR
    assert len(log.take()) == 2
