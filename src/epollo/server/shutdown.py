"""The steps of a stop: the delay, the hook ``stopping``, no more accepting, the goodbye, the abort.

`epollo.server.stopping` has the deadline that holds whatever the application does in these steps;
`epollo.server.goodbye` chooses when each connection ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from epollo.engine import CloseReason, EventLoop, Timer
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.goodbye import Goodbye
from epollo.server.listeners import Listeners
from epollo.server.stopping import CLEANUP_SECONDS, Stop
from epollo.server.timeouts import TimeoutSweeper
from epollo.settings import Settings

_HANDSHAKE_SECONDS = 1.0  # after a stop, for handshakes that had begun, and for their first message


class Shutdown:
    """Ends the serving of one server, once it is asked to. ``stop`` has its deadline.

    `ask` may be called in any thread and in signal handlers, the rest in the loop's thread.
    """

    def __init__(
        self, settings: Settings, protocol: ApplicationProtocol, listeners: Listeners, stop: Stop
    ) -> None:
        self._settings = settings
        self._protocol = protocol
        self._listeners = listeners
        self._stop = stop
        self.finish: Callable[[], object] = _nothing
        """Ends the loop's run, when all connections are closed."""
        self.on_stopping: Callable[[], object] = _nothing
        """Told, before the application, that the process goes on to stop."""
        self.when_may_close: Callable[[Callable[[], object]], object] = _now
        """Calls what it is given, in the loop's thread, once the listeners may be closed. Until
        then, and within the grace, the server accepts and serves."""
        self._restart()
        self.forget()

    def _restart(self) -> None:
        self.asked: bool = False
        """Was a stop asked for?"""
        self._delays: list[Timer | None] = []  # one while the stop is delayed
        self._told = False
        self._stopping_task: Any = None
        self._draining = self._quick = self._aborted = False

    def forget(self) -> None:
        """The server is closed: let go of what knows its loop and its connections."""
        self._loop: EventLoop | None = None
        self._goodbye: Goodbye | None = None
        self._call_stopping: Callable[[], Any] = _nothing

    def begin(
        self, loop: EventLoop, sweeper: TimeoutSweeper, call_stopping: Callable[[], Any]
    ) -> None:
        """The server is started on ``loop``: no stop is asked for yet. ``call_stopping`` calls the
        application's hook, and returns the task of an async one."""
        self._restart()
        self._loop, self._sweeper, self._call_stopping = loop, sweeper, call_stopping

    @property
    def delayed(self) -> bool:
        """Is a stop asked for that goes on accepting for now?"""
        return bool(self._delays)

    def ask(self, grace: float, delay: float, quick: bool) -> None:
        """See `epollo.Server.stop`; times in seconds."""
        loop = self._loop
        if loop is None:
            return
        drain = partial(self._drain, loop, grace, quick)
        if self._delays and self._end_delay():
            self._stop.hurry(grace)
            loop.call_threadsafe(drain)
        elif delay and not self.asked:
            self.asked = True
            self._delays.append(None)
            self._stop.delay(delay, grace)
            loop.call_threadsafe(partial(self._delay, loop, delay, drain))
        else:
            self.asked = True
            self._stop.begin(grace)
            loop.call_threadsafe(drain)

    def _delay(self, loop: EventLoop, seconds: float, drain: Callable[[], object]) -> None:
        """Go on accepting for that long; the application knows already."""

        def end() -> None:
            if self._end_delay():
                drain()

        if self._delays:  # else a second call has ended it already
            self._delays[:] = [loop.call_later(seconds, end)]
            self._tell()

    def _end_delay(self) -> bool:
        """The stop is delayed no more; false if it was not. In any thread, and in signal handlers:
        of two, one gets true."""
        try:
            timer = self._delays.pop()
        except IndexError:
            return False
        if timer is not None:
            timer.cancel()
        return True

    def _tell(self) -> None:
        """Tell the process and the application, once."""
        if not self._told:
            self._told = True
            self.on_stopping()
            self._stopping_task = self._call_stopping()

    def _drain(self, loop: EventLoop, grace: float, quick: bool) -> None:
        if self._draining:
            self.abort()
            return
        self._draining = True
        self._quick = self._quick or quick
        loop.call_later(grace, self.abort)
        goodbye = partial(self._say_goodbye, loop, time.monotonic() + grace)
        self._tell()
        task = self._stopping_task
        if task is None or task.done():
            self.when_may_close(goodbye)
        else:
            told = partial(self.when_may_close, goodbye)
            task.add_done_callback(lambda _: loop.call_threadsafe(told))

    def hurry(self) -> None:
        """The stop that has begun becomes a quick one."""
        self._quick = True
        if self._goodbye is not None:
            self._goodbye.hurry()

    def _say_goodbye(self, loop: EventLoop, deadline: float) -> None:
        """Accept no more, and end each connection when its time has come."""
        if self._aborted:
            return
        try:
            self._listeners.stop_accepting(accept_queued=True)
        finally:  # whatever it raises, such as StopOverdue: the server ends
            self._protocol.on_empty = self.finish
            late = loop.advance_newcomers()
            if late:
                self._protocol.on_empty = self._finish_if_empty
                loop.call_later(_HANDSHAKE_SECONDS, partial(self._end_newcomers, loop))
            self._goodbye = self._new_goodbye(loop)
            self._goodbye.begin(max(0.0, deadline - time.monotonic()), late)
            self._protocol.check_empty()

    def _new_goodbye(self, loop: EventLoop) -> Goodbye:
        settings, protocol = self._settings, self._protocol
        quiet, pace = (0.0, 0.0) if self._quick else (settings.drain_quiet, settings.goodbye_over)
        if quiet:
            self._sweeper.start()
        farewell = protocol.executor.closing if protocol.application.has("closing") else None
        return Goodbye(loop, quiet, pace, self._sweeper.period, farewell, protocol.farewells)

    def _end_newcomers(self, loop: EventLoop) -> None:
        """The handshakes that had begun before the stop have had their time."""
        for newcomer in loop.newcomers():
            newcomer.abort(CloseReason.SHUTDOWN)

    def _finish_if_empty(self) -> None:
        """The last connection is closed: finish, unless a handshake is not over yet."""
        if self._loop is None or not self._loop.newcomers():
            self.finish()

    def abort(self) -> None:
        """Close all connections; wait for their handlers at most `CLEANUP_SECONDS`."""
        loop, self._aborted = self._loop, True
        self._protocol.on_empty = self.finish
        try:
            self._listeners.stop_accepting()
        finally:
            if loop is not None:
                for connection in (*loop.newcomers(), *loop.connections()):
                    connection.abort(CloseReason.SHUTDOWN)
            self._protocol.check_empty()
            if loop is not None:
                loop.call_later(CLEANUP_SECONDS, self.finish)


def _nothing() -> None:
    pass


def _now(step: Callable[[], object]) -> None:
    step()
