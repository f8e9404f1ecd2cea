"""Handlers that block: each call runs in a thread of a pool, so the loop is not held up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from epollo.engine import CloseReason, Connection, EngineConnection, EventLoop, Reply
from epollo.engine.replies import MOST_BYTES, MOST_MESSAGES, is_message, size_of
from epollo.errors import ConnectionClosed
from epollo.server.figures import CallTimes
from epollo.server.handlers.application import Application
from epollo.server.handlers.call_timeouts import CallTimeouts
from epollo.server.handlers.executor import DISCONNECTED_RAISED, no_tasks, unfinished
from epollo.server.handlers.pending import PendingCall, PendingCalls
from epollo.server.handlers.thread_pool import Job, ThreadPool
from epollo.server.places import place_of_thread
from epollo.server.stopping import Stop

_PERIOD = 0.1  # seconds between checks of the stop's deadline, which may move


class ThreadExecutor:
    """Calls ``received``, ``connected`` and ``disconnected`` in ``count`` threads.

    A call that has begun runs to its end, even if its connection closes meanwhile.
    """

    tells_connected: bool = True
    tells_disconnected: bool = True

    def __init__(
        self,
        application: Application,
        in_flight: int,
        ordered: bool,
        count: int,
        timeout: float = 0,
    ) -> None:
        self._application = application
        self._in_flight = in_flight
        self._count = count
        self._pending_calls = PendingCalls(ordered)
        self._timeouts = CallTimeouts(application.name, timeout, self._pending_calls, self._place)

    def time_calls(self, times: CallTimes) -> None:
        self._pending_calls.times = times

    def begin(self, engine: EventLoop) -> None:
        self._engine = engine
        self._timeouts.begin(engine)
        self._pool = ThreadPool(self._count, "epollo-handler")
        self._ended: SimpleQueue[Callable[[], object]] = SimpleQueue()  # for the loop's thread
        self._disconnecting: dict[Connection, None] = {}

    def received(self, message: bytes, connection: EngineConnection) -> None:
        call = self._pending_calls.begin(connection)
        if self._pending_calls.times is not None:
            call.since = self._pending_calls.times.defer(connection)
        application = self._application
        arguments = (message, connection) if application.wants_connection else (message,)
        job = self._submit(call, partial(application.receive, *arguments))
        call.cancel, call.running = partial(self._cancel, call, job), job

    def connected(self, connection: EngineConnection) -> None:
        """Call ``connected``; no message is delivered before it returns. It is called even if the
        peer is gone by then, because `disconnected` will be."""
        self._call_alone(self._application.connected, connection)

    def closing(self, connection: EngineConnection) -> None:
        """Call ``closing``; the connection ends when it has returned."""
        self._call_alone(self._application.closing, connection)

    def disconnected(
        self, connection: EngineConnection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        self._disconnecting[connection] = None
        self._pending_calls.cancel(connection)
        start = partial(self._start_disconnect, connection, reason, done)
        self._pending_calls.after(connection, start)

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Make a call of ``call_later`` in the pool, as for a message: if messages are handled one
        at a time, it takes its turn."""
        start = partial(self._start_call, connection, function)
        if self._in_flight == 1:
            self._pending_calls.after(connection, start)
        else:
            start()

    def _start_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        if connection.closed:
            return

        def call_it(_: object) -> None:
            try:
                function()
            except ConnectionClosed:
                if connection.answers:  # else it was only told of the end
                    raise

        call = self._call_alone(call_it, connection)
        assert isinstance(call.running, Job)
        call.cancel = partial(self._cancel, call, call.running)

    def create_task(self, connection: EngineConnection, work: Any, name: str | None) -> NoReturn:
        raise no_tasks(self._application.name)

    def close(self, stop: Stop) -> None:
        """Wait for the calls that have begun, and for ``disconnected`` after them."""
        while (self._pending_calls or self._disconnecting) and stop.seconds_left != 0:
            try:
                end = self._ended.get(timeout=min(_PERIOD, stop.seconds_left or _PERIOD))
            except Empty:
                continue
            end()
        self._pool.close(stop.seconds_left)
        left = {**self._disconnecting, **dict.fromkeys(self._pending_calls.abandon())}
        stop.leave_behind(unfinished(self._application.name, left))

    def _call_alone(
        self, hook: Callable[[EngineConnection], object], connection: EngineConnection
    ) -> PendingCall:
        """Call ``hook``; no message is delivered before it returns."""
        call = self._pending_calls.begin(connection, self._in_flight)
        call.running = self._submit(call, lambda: _ignore(hook(connection)))
        return call

    def _submit(self, call: PendingCall, function: Callable[[], Reply]) -> Job:
        return self._pool.submit(partial(self._handle, call, function))

    def _cancel(self, call: PendingCall, job: Job) -> None:
        """Drop a call that no thread has begun; one that has begun ends by itself."""
        if job.cancel():
            self._pending_calls.end(call)

    def _handle(self, call: PendingCall, function: Callable[[], Reply]) -> None:
        """In the pool. Messages that the handler itself sends go out before its reply."""
        try:
            reply = function()
            if isinstance(reply, str) or is_message(reply) or not isinstance(reply, Iterable):
                self._end(call, reply)
            else:
                self._next_part(call, iter(reply))
        except BaseException as error:
            self._in_loop(partial(self._pending_calls.end, call, error=error))

    def _next_part(self, call: PendingCall, messages: Iterator[Any]) -> None:
        """In the pool: a generator is the handler's code too. It makes as much as the peer is sent
        at once, and goes on in the pool when the peer has taken that."""
        part: list[Any] = []
        size = 0
        while call.connection.answers:
            try:
                message = next(messages)
            except StopIteration:
                self._end(call, part)
                return
            part.append(message)
            size += size_of(message)
            if len(part) == MOST_MESSAGES or size > MOST_BYTES:
                self._end(call, part, partial(self._submit_part, call, messages))
                return
        getattr(messages, "close", _nothing)()
        self._end(call, None)

    def _end(self, call: PendingCall, reply: Any, more: Callable[[], object] | None = None) -> None:
        """In the pool: give the loop the reply, or a part of it."""
        if not self._pending_calls.hold(call, reply):
            self._in_loop(partial(call.connection.abort, CloseReason.SLOW_CONSUMER))
            reply = None
        self._in_loop(partial(self._pending_calls.end, call, reply, more=more))

    def _submit_part(self, call: PendingCall, messages: Iterator[Any]) -> None:
        job = self._pool.submit(partial(self._handle_part, call, messages))
        self._pending_calls.resume(call, job)

    def _handle_part(self, call: PendingCall, messages: Iterator[Any]) -> None:
        """In the pool."""
        try:
            self._next_part(call, messages)
        except BaseException as error:
            self._in_loop(partial(self._pending_calls.end, call, error=error))

    def _start_disconnect(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        job = self._pool.submit(partial(self._disconnect, connection, reason, done))

        def end() -> bool:
            left = connection in self._disconnecting
            self._disconnected(connection, done)
            return left

        self._timeouts.watch_disconnect(job, connection, end)

    def _disconnect(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """In the pool."""
        try:
            self._application.disconnected(connection, reason)
        except BaseException as error:
            self._in_loop(partial(self._engine.report, error, DISCONNECTED_RAISED))
        self._in_loop(partial(self._disconnected, connection, done))

    def _disconnected(self, connection: Connection, done: Callable[[], object]) -> None:
        if connection in self._disconnecting:  # else it has taken too long
            del self._disconnecting[connection]
            done()

    def _place(self, running: object) -> str:
        """The place of a job, and how many threads are busy."""
        assert isinstance(running, Job)
        busy = f"with {self._pool.busy} of {self._count} threads busy"
        if running.thread is None:
            return f"waiting for a thread, {busy}"
        place = place_of_thread(running.thread)
        return f"at {place}, {busy}" if place else busy

    def _in_loop(self, function: Callable[[], object]) -> None:
        """Call ``function`` in the loop's thread or, once the loop is closed, in `close`."""
        self._ended.put(function)
        self._engine.call_threadsafe(self._call_ended)

    def _call_ended(self) -> None:
        try:
            function = self._ended.get_nowait()
        except Empty:  # `close` has called it
            return
        function()


def _ignore(_: object) -> None:
    """The return value of ``connected`` is not a reply."""


def _nothing() -> None:
    pass
