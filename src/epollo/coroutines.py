"""Async handlers: coroutines on the asyncio loop that the engine is a guest of.

Most calls of most handlers wait for nothing. So the first step of a coroutine is taken at once,
within the engine's turn; what it returns is the reply, and no task was made. Only a coroutine that
waits goes on in a task. In its first step it must see that very task as the current one:
asyncio.timeout() and TaskGroup remember it. So a spare task is kept, parked on a future, and the
step is taken in its name and in its context (asyncio's "Extending", `_enter_task`).
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from typing import Any

from epollo.engine import CloseReason, Connection, EventLoop, Reply
from epollo.flights import Flight, Flights, as_exception
from epollo.handler import Application, Received
from epollo.runner import report_disconnected

Work = Coroutine[Any, Any, Any]


class Spare:
    """A task that waits for a coroutine to go on with."""

    __slots__ = ("_awaited", "_clean", "_flight", "_parked", "_work", "context", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[..., None]) -> None:
        self._work: Work | None = None
        self._clean = copy_context()
        self.context = self._clean.copy()
        self._parked: asyncio.Future[None] = loop.create_future()
        life = self._live(end)
        life.send(None)  # A task that is cancelled before it has begun would never begin.
        self.task = asyncio.Task(life, loop=loop, context=self.context)

    @property
    def spoilt(self) -> bool:
        """Was it cancelled, or has the coroutine before left something in the context?"""
        cancelled = self._parked.done() or self.task.cancelling()
        return bool(cancelled or self.context != self._clean)

    def adopt(self, work: Work, awaited: Any, flight: Flight) -> None:
        """Go on with ``work``, whose first step ended with waiting for ``awaited``."""
        self._work, self._awaited, self._flight = work, awaited, flight
        flight.cancel = self.task.cancel
        if not self._parked.done():
            self._parked.set_result(None)

    async def _live(self, end: Callable[..., None]) -> None:
        cancelled = False
        try:
            await _pause()
            await self._parked
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
        self._spare: Spare | None = None
        self._receive: Any = application.received
        self._connect: Any = application.connected
        is_async = application.is_async
        self.received = self._received if is_async("received") else self._received_plain
        self.connected = self._connected if is_async("connected") else application.connected

    def begin(self, engine: EventLoop) -> None:
        self._loop = asyncio.get_running_loop()

    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Nobody waits for the handlers any more: cancel them. Then tell the application."""
        self._flights.cancel(connection)
        self._flights.after(connection, partial(self._disconnect, connection, reason, done))

    def close(self) -> None:
        """All is on the loop: see `finish`."""

    async def finish(self) -> None:
        """Wait for all that has not ended."""
        self._drop_spare()
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done

    def _received(self, message: bytes, connection: Connection) -> Reply:
        return self._start(self._receive(message, connection), connection, 1)

    def _received_plain(self, message: bytes, connection: Connection) -> Reply:
        return self._in_turn(connection, self._receive(message, connection))

    def _connected(self, connection: Connection) -> None:
        """No message is delivered before it has ended."""
        self._start(_without_reply(self._connect(connection)), connection, self._in_flight)

    def _start(self, work: Work, connection: Connection, weight: int) -> Reply:
        """Take the first step; go on in a task where that was not all."""
        spare = self._spare
        if spare is None or spare.spoilt:
            spare = self._new_spare()
        task = spare.task
        _enter_task(self._loop, task)
        try:
            awaited = spare.context.run(work.send, None)
        except StopIteration as stop:
            return self._in_turn(connection, stop.value)
        except (Exception, asyncio.CancelledError) as error:
            return self._in_turn(connection, None, as_exception(error))
        else:
            spare.adopt(work, awaited, self._flights.begin(connection, weight))
            self._keep(task)
            self._spare = None
            return None
        finally:
            _leave_task(self._loop, task)

    def _in_turn(
        self, connection: Connection, reply: Reply, error: Exception | None = None
    ) -> Reply:
        """A reply that is there already goes out now, or behind those that are still to come."""
        if self._ordered and connection.in_flight:
            self._flights.end(self._flights.begin(connection), reply, error)
            return None
        if error is not None:
            raise error
        return reply

    def _new_spare(self) -> Spare:
        self._drop_spare()
        self._spare = Spare(self._loop, self._flights.end)
        return self._spare

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
        try:
            if self._application.is_async("disconnected"):
                work = _tell(disconnect(connection, reason), done)
                self._keep(asyncio.Task(work, loop=self._loop))
                return
            disconnect(connection, reason)
        except Exception as error:
            report_disconnected(error)
        done()


async def _tell(work: Awaitable[object], done: Callable[[], object]) -> None:
    try:
        await work
    except Exception as error:
        report_disconnected(error)
    finally:
        done()


async def _land(work: Awaitable[Reply], flight: Flight, end: Callable[..., None]) -> None:
    try:
        reply = await work
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and flight.connection.closed:
            end(flight)
        else:
            end(flight, error=as_exception(error))
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
