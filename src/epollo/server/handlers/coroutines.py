"""Async handlers: coroutines on the asyncio loop that runs the engine.

Most calls of most handlers wait for nothing. So the first step of a coroutine is taken at once,
during the engine's own turn: its return value is the reply, and no task is made. Only a coroutine
that waits continues in a task. Already in its first step it must see that task as the current one,
because asyncio.timeout() and TaskGroup remember it. So one task is kept ready, parked on a future,
and the engine takes the step in its name and its context (asyncio's "Extending", `_enter_task`).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from epollo.engine import CloseReason, Connection, EngineConnection, EventLoop, Reply
from epollo.engine.eager import EagerRunner
from epollo.errors import UsageError
from epollo.server.figures import CallTimes
from epollo.server.handlers.application import Application
from epollo.server.handlers.call_timeouts import CallTimeouts
from epollo.server.handlers.executor import DISCONNECTED_RAISED, unfinished
from epollo.server.handlers.generated import is_generated, send_generated
from epollo.server.handlers.pending import PendingCall, PendingCalls
from epollo.server.handlers.tasks import ConnectionTasks
from epollo.server.places import place_of_coroutine
from epollo.server.stopping import Stop

Work = Coroutine[Any, Any, Any]

TASK_NAME = "epollo-handler"


class ParkedTask:
    """A task that waits for a coroutine to continue with."""

    __slots__ = ("_awaited", "_call", "_work", "clean_context", "context", "resumed", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, calls: PendingCalls) -> None:
        self._work: Work | None = None
        self.clean_context: Context = copy_context()
        self.context: Context = self.clean_context.copy()
        self.resumed: asyncio.Future[None] = loop.create_future()
        body = self._run(calls)
        body.send(None)  # a task that is cancelled before its first step never runs its body
        self.task: asyncio.Task[None] = asyncio.Task(
            body, loop=loop, name=TASK_NAME, context=self.context
        )

    def adopt(self, work: Work, awaited: Any, call: PendingCall) -> None:
        """Continue with ``work``, whose first step ended waiting for ``awaited``."""
        self._work, self._awaited, self._call = work, awaited, call
        call.cancel, call.running = self.task.cancel, work
        if not self.resumed.done():
            self.resumed.set_result(None)

    async def _run(self, calls: PendingCalls) -> None:
        cancelled = False
        try:
            await _pause()
            await self.resumed
        except asyncio.CancelledError:
            if self._work is None:
                raise
            cancelled = True
        assert self._work is not None
        await _complete(_remainder(self._work, self._awaited, cancelled), self._call, calls)


class CoroutineExecutor:
    """Calls ``received`` and ``connected``, and ``disconnected`` when they have ended."""

    tells_connected: bool = True
    tells_disconnected: bool = True

    received: Callable[[bytes, EngineConnection], Reply]
    connected: Callable[[EngineConnection], object]
    closing: Callable[[EngineConnection], object]

    def __init__(
        self, application: Application, in_flight: int, ordered: bool, timeout: float = 0
    ) -> None:
        self._application = application
        self._in_flight = in_flight
        self._ordered = ordered
        self._pending_calls = PendingCalls(ordered)
        self._timeouts = CallTimeouts(application.name, timeout, self._pending_calls, _place)
        self._tasks: set[asyncio.Task[Any]] = set()  # of calls
        self._own_tasks = ConnectionTasks()
        self._disconnecting: dict[Connection, None] = {}
        self._parked_task: ParkedTask | None = None

    def time_calls(self, times: CallTimes) -> None:
        self._pending_calls.times = times

    def begin(self, engine: EventLoop) -> None:
        application, self._loop = self._application, asyncio.get_running_loop()
        self._engine = engine
        self._timeouts.begin(engine)
        receive, wants_connection = application.receive, application.wants_connection
        runner = _eager_runner_class(engine.name)(self._loop, receive, wants_connection, self)
        self._start = runner.start
        is_async = application.is_async
        self.received = runner.received if is_async("received") else self._received_plain
        if application.generates:
            self.received = self._received_plain
        self.connected = self._alone("connected", application.connected)
        self.closing = self._alone("closing", application.closing)

    def disconnected(
        self, connection: EngineConnection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Cancel the connection's coroutines, then tell the application."""
        self._disconnecting[connection] = None
        self._pending_calls.cancel(connection)
        self._own_tasks.cancel(connection)
        disconnect = partial(self._disconnect, connection, reason, done)
        after_tasks = partial(self._own_tasks.after, connection, disconnect)
        self._pending_calls.after(connection, after_tasks)

    def create_task(
        self, connection: EngineConnection, work: Work, name: str | None
    ) -> asyncio.Task[Any]:
        if asyncio._get_running_loop() is not self._loop:
            raise UsageError("create_task: only in the thread of the server's event loop")
        return self._own_tasks.create(connection, work, name or TASK_NAME)

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        connection.run_call(function)

    def close(self, stop: Stop) -> None:
        """Nothing runs outside the loop: see `finish`."""

    async def finish(self, stop: Stop) -> None:
        """Wait for all tasks, at most until the deadline."""
        self._drop_parked_task()
        while tasks := [*self._calls_at_work(), *self._own_tasks.all()]:
            if await wait_until(stop, tasks):
                break
        left = {**self._disconnecting, **dict.fromkeys(self._pending_calls.abandon())}
        self._disconnecting.clear()
        stop.leave_behind(unfinished(self._application.name, left))

    async def wait_for_calls(self) -> None:
        """Wait until no call is at work. Tasks of connections go on."""
        while tasks := self._calls_at_work():
            await asyncio.wait(tasks)

    def _calls_at_work(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def _received_plain(self, message: bytes, connection: EngineConnection) -> Reply:
        receive = self._application.receive
        wants_connection = self._application.wants_connection
        reply = receive(message, connection) if wants_connection else receive(message)
        return self.reply_in_order(connection, reply)

    def _alone(self, name: str, hook: Any) -> Callable[[EngineConnection], object]:
        """Calls ``hook``; if it is async, no message is delivered before it ends."""
        if not self._application.is_async(name):
            call: Callable[[EngineConnection], object] = hook
            return call

        def start(connection: EngineConnection) -> None:
            self._start(_without_reply(hook(connection)), connection, self._in_flight)

        return start

    def new_parked_task(self) -> ParkedTask:
        """A fresh parked task; see `EagerCallbacks`."""
        self._drop_parked_task()
        self._parked_task = ParkedTask(self._loop, self._pending_calls)
        return self._parked_task

    def resume(self, work: Work, awaited: Any, connection: EngineConnection, weight: int) -> None:
        """``work`` waits for ``awaited``: it continues in the parked task."""
        parked_task, self._parked_task = self._parked_task, None
        assert parked_task is not None
        call, times = self._pending_calls.begin(connection, weight), self._pending_calls.times
        if times is not None and getattr(work, "cr_code", None) is not _HOOK:  # for a message
            call.since = times.defer(connection)
        parked_task.adopt(work, awaited, call)
        self._keep(parked_task.task)

    def reply_in_order(
        self, connection: EngineConnection, reply: Reply, error: BaseException | None = None
    ) -> Reply:
        """The reply that is due now; None if earlier replies are: then it is sent after them. None
        if it is generated, too: then it is sent as it is made."""
        if is_generated(reply):
            self._begin_generated(connection, reply)
            return None
        if self._ordered and connection.in_flight:
            self._pending_calls.end(self._pending_calls.begin(connection), reply, error)
            return None
        if error is not None:
            raise error
        return reply

    def _begin_generated(self, connection: EngineConnection, messages: Any) -> None:
        call, times = self._pending_calls.begin(connection), self._pending_calls.times
        if times is not None:
            call.since = times.defer(connection)
        task = asyncio.Task(self._generate(messages, call), loop=self._loop, name=TASK_NAME)
        call.cancel, call.running = task.cancel, messages
        # If it is cancelled before its first step, its body never runs.
        task.add_done_callback(lambda _: self._pending_calls.end(call))
        self._keep(task)

    async def _generate(self, messages: AsyncIterable[Any], call: PendingCall) -> None:
        await _complete(
            send_generated(messages, call, self._pending_calls), call, self._pending_calls
        )

    def _drop_parked_task(self) -> None:
        parked_task, self._parked_task = self._parked_task, None
        if parked_task is not None:
            self._keep(parked_task.task)
            parked_task.task.cancel()

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Refer to ``task`` until it is done: asyncio itself keeps only weak references."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _disconnect(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Call ``disconnected``: a plain function at once, an async one in a task."""
        disconnect: Any = self._application.disconnected
        done = partial(self._disconnected, connection, done)
        try:
            if self._application.is_async("disconnected"):
                self._start_disconnect(disconnect(connection, reason), connection, done)
                return
            disconnect(connection, reason)
        except BaseException as error:
            self._engine.report(error, DISCONNECTED_RAISED)
        done()

    def _start_disconnect(
        self, work: Work, connection: Connection, done: Callable[[], object]
    ) -> None:
        def end() -> bool:
            if task.done():
                return False
            task.cancel()
            done()
            return True

        waiting = self._await_disconnect(work, connection, done)
        task = asyncio.Task(waiting, loop=self._loop, name=TASK_NAME)
        self._keep(task)
        self._timeouts.watch_disconnect(work, connection, end)

    async def _await_disconnect(
        self, work: Awaitable[object], connection: Connection, done: Callable[[], object]
    ) -> None:
        try:
            await work
        except BaseException as error:
            if connection in self._disconnecting:  # else it was left behind and is destroyed now
                self._engine.report(error, DISCONNECTED_RAISED)
        finally:
            done()

    def _disconnected(self, connection: Connection, done: Callable[[], object]) -> None:
        if connection in self._disconnecting:  # else it has taken too long
            del self._disconnecting[connection]
            done()


def _place(work: object) -> str:
    place = place_of_coroutine(work)
    return f"at {place}" if place else ""


def _eager_runner_class(engine: str) -> Callable[..., EagerRunner]:
    if engine == "native":
        from epollo.engine.native.eager import EagerRunner as NativeEagerRunner

        return NativeEagerRunner
    from epollo.engine.python.eager import EagerRunner as PythonEagerRunner

    return PythonEagerRunner


async def wait_until(
    stop: Stop, tasks: Collection[asyncio.Task[Any]]
) -> Collection[asyncio.Task[Any]]:
    """Wait for ``tasks``, at most until the deadline of ``stop``, which may be set or moved
    meanwhile. Returns the tasks that have not ended."""
    loop = asyncio.get_running_loop()
    while pending := [task for task in tasks if not task.done()]:
        moved = loop.create_future()
        with stop.notifying(partial(loop.call_soon_threadsafe, _resolve, moved)):
            if stop.seconds_left == 0:
                break
            await asyncio.wait(
                (*pending, moved), timeout=stop.seconds_left, return_when=asyncio.FIRST_COMPLETED
            )
    return pending


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _complete(work: Awaitable[Any], call: PendingCall, calls: PendingCalls) -> None:
    end = calls.end
    try:
        reply = await work
        if type(reply) is not bytes and is_generated(reply):
            await send_generated(reply, call, calls)
            reply = None
    except BaseException as error:
        gone = call.connection.closed
        if gone and isinstance(error, asyncio.CancelledError | GeneratorExit):
            end(call)
        else:
            end(call, error=error)
    else:
        end(call, reply)


async def _without_reply(work: Work) -> None:
    await work


_HOOK = _without_reply.__code__


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


@types.coroutine
def _remainder(work: Work, awaited: Any, cancelled: bool) -> Generator[Any, None, Any]:
    """Run ``work`` on after its first step, which ended waiting for ``awaited``."""
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
