"""Async handlers: coroutines on the asyncio loop that the engine is a guest of.

Most calls of most handlers wait for nothing. So the first step of a coroutine is taken at once,
within the engine's turn; what it returns is the reply, and no task was made. Only a coroutine that
waits goes on in a task. In its first step it must see that very task as the current one:
asyncio.timeout() and TaskGroup remember it. So a spare task is kept, parked on a future, and the
engine takes the step in its name and in its context (asyncio's "Extending", `_enter_task`).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from typing import Any

from epollo.engine import CloseReason, Connection, EventLoop, Reply
from epollo.engine.eager import Steps
from epollo.server.handlers.application import Application, Received
from epollo.server.handlers.executor import DISCONNECTED_RAISED, unfinished
from epollo.server.handlers.pending import Flight, Flights
from epollo.server.stopping import Stop

Work = Coroutine[Any, Any, Any]

TASK_NAME = "epollo-handler"


class Spare:
    """A task that waits for a coroutine to go on with."""

    __slots__ = ("_awaited", "_flight", "_work", "clean", "context", "parked", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[..., None]) -> None:
        self._work: Work | None = None
        self.clean = copy_context()
        self.context = self.clean.copy()
        self.parked: asyncio.Future[None] = loop.create_future()
        life = self._live(end)
        life.send(None)  # A task that is cancelled before it has begun would never begin.
        self.task = asyncio.Task(life, loop=loop, name=TASK_NAME, context=self.context)

    def adopt(self, work: Work, awaited: Any, flight: Flight) -> None:
        """Go on with ``work``, whose first step ended with waiting for ``awaited``."""
        self._work, self._awaited, self._flight = work, awaited, flight
        flight.cancel = self.task.cancel
        if not self.parked.done():
            self.parked.set_result(None)

    async def _live(self, end: Callable[..., None]) -> None:
        cancelled = False
        try:
            await _pause()
            await self.parked
        except asyncio.CancelledError:
            if self._work is None:
                raise
            cancelled = True
        assert self._work is not None
        await _land(_rest(self._work, self._awaited, cancelled), self._flight, end)


class Coroutines:
    """Calls ``received`` and ``connected``, and ``disconnected`` when they have ended."""

    received: Received
    connected: Callable[[Connection], object]

    def __init__(self, application: Application, in_flight: int, ordered: bool) -> None:
        self._application = application
        self._in_flight = in_flight
        self._ordered = ordered
        self._flights = Flights(ordered)
        self._tasks: set[asyncio.Task[None]] = set()
        self._disconnecting: dict[Connection, None] = {}
        self._spare: Spare | None = None
        self._connect: Any = application.connected

    def begin(self, engine: EventLoop) -> None:
        application, self._loop = self._application, asyncio.get_running_loop()
        self._engine = engine
        receive, wants_connection = application.receive, application.wants_connection
        steps = _steps(engine.name)(self._loop, receive, wants_connection, self)
        self._take = steps.take
        is_async = application.is_async
        self.received = steps.received if is_async("received") else self._received_plain
        self.connected = self._connected if is_async("connected") else application.connected

    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Nobody waits for the handlers any more: cancel them. Then tell the application."""
        self._disconnecting[connection] = None
        self._flights.cancel(connection)
        self._flights.after(connection, partial(self._disconnect, connection, reason, done))

    def close(self, stop: Stop) -> None:
        """Everything runs on the loop: see `finish`."""

    async def finish(self, stop: Stop) -> None:
        """Wait for all that has not ended, until the deadline."""
        self._drop_spare()
        while tasks := [task for task in self._tasks if not task.done()]:
            if await wait_until(stop, tasks):
                break
        left = {**self._disconnecting, **dict.fromkeys(self._flights.abandon())}
        self._disconnecting.clear()
        stop.leave_behind(unfinished(self._application.name, left))

    def _received_plain(self, message: bytes, connection: Connection) -> Reply:
        return self.in_turn(connection, self._application.received(message, connection))

    def _connected(self, connection: Connection) -> None:
        """No message is delivered before it has ended."""
        self._take(_without_reply(self._connect(connection)), connection, self._in_flight)

    def new_spare(self) -> Spare:
        """Another one, in place of one that was taken or is spoilt."""
        self._drop_spare()
        self._spare = Spare(self._loop, self._flights.end)
        return self._spare

    def go_on(self, work: Work, awaited: Any, connection: Connection, weight: int) -> None:
        """``work`` waits for ``awaited``: the spare task goes on with it."""
        spare, self._spare = self._spare, None
        assert spare is not None
        spare.adopt(work, awaited, self._flights.begin(connection, weight))
        self._keep(spare.task)

    def in_turn(
        self, connection: Connection, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """A reply that is there already goes out now, or behind those that are still to come."""
        if self._ordered and connection.in_flight:
            self._flights.end(self._flights.begin(connection), reply, error)
            return None
        if error is not None:
            raise error
        return reply

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            self._keep(spare.task)
            spare.task.cancel()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _disconnect(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Call it at once, as a plain function is; where it is async, in a task."""
        disconnect: Any = self._application.disconnected
        done = partial(self._disconnected, connection, done)
        try:
            if self._application.is_async("disconnected"):
                work = self._tell(disconnect(connection, reason), connection, done)
                self._keep(asyncio.Task(work, loop=self._loop, name=TASK_NAME))
                return
            disconnect(connection, reason)
        except BaseException as error:
            self._engine.report(error, DISCONNECTED_RAISED)
        done()

    async def _tell(
        self, work: Awaitable[object], connection: Connection, done: Callable[[], object]
    ) -> None:
        try:
            await work
        except BaseException as error:
            if connection in self._disconnecting:  # else it was left behind, and is destroyed now
                self._engine.report(error, DISCONNECTED_RAISED)
        finally:
            done()

    def _disconnected(self, connection: Connection, done: Callable[[], object]) -> None:
        self._disconnecting.pop(connection, None)
        done()


def _steps(engine: str) -> Callable[..., Steps]:
    if engine == "native":
        from epollo.engine.native.eager import Steps as NativeSteps

        return NativeSteps
    from epollo.engine.python.eager import Steps as PythonSteps

    return PythonSteps


async def wait_until(
    stop: Stop, tasks: Collection[asyncio.Task[Any]]
) -> Collection[asyncio.Task[Any]]:
    """Wait for ``tasks``, at most until the deadline of a stop, which may be asked for meanwhile.
    Returns those that have not ended."""
    loop = asyncio.get_running_loop()
    while pending := [task for task in tasks if not task.done()]:
        moved = loop.create_future()
        with stop.listening(partial(loop.call_soon_threadsafe, _resolve, moved)):
            if stop.seconds_left == 0:
                break
            await asyncio.wait(
                (*pending, moved), timeout=stop.seconds_left, return_when=asyncio.FIRST_COMPLETED
            )
    return pending


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _land(work: Awaitable[Reply], flight: Flight, end: Callable[..., None]) -> None:
    try:
        reply = await work
    except BaseException as error:
        gone = flight.connection.closed
        if gone and isinstance(error, asyncio.CancelledError | GeneratorExit):
            end(flight)
        else:
            end(flight, error=error)
    else:
        end(flight, reply)


async def _without_reply(work: Work) -> None:
    await work


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


@types.coroutine
def _rest(work: Work, awaited: Any, cancelled: bool) -> Generator[Any, None, Any]:
    """What ``work`` does after its first step, which ended with waiting for ``awaited``."""
    try:
        if cancelled and (awaited is None or not awaited.cancel()):
            awaited = work.throw(asyncio.CancelledError())
        while True:
            try:
                yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                return (yield from work)
    except StopIteration as stop:
        return stop.value
