"""The server: where it listens, whom it serves, and the way it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self

from epollo import address
from epollo.engine import CloseReason, Connection, EventLoop, new_loop
from epollo.framing import Buffer
from epollo.server.acceptor import Acceptor
from epollo.server.application_protocol import Service
from epollo.server.counters import Counts
from epollo.server.groups.broker import Broker, LocalBroker
from epollo.server.groups.publisher import Publisher
from epollo.server.handlers.application import Handler, application, echo
from epollo.server.signals import Signals, waking
from epollo.server.stopping import (
    CLEANUP_SECONDS,
    Stop,
    StopOverdue,
    Watchdog,
    place_of,
)
from epollo.server.thread import Background
from epollo.server.timeouts import Deadlines
from epollo.settings import Settings, settings_from
from epollo.units import parse_seconds

_log = logging.getLogger("epollo.server")


def serve(
    handler: Handler = echo,
    bind: str | Sequence[str] | None = None,
    *,
    name: str | None = None,
    **settings: Any,
) -> None:
    """Serve ``handler`` on ``bind`` (127.0.0.1:8091) until SIGINT or SIGTERM, then drain.

    ``name`` is what the ready line, printed once it listens, calls the handler. ``settings`` are
    the fields of `epollo.Settings`. Raises UsageError for what cannot work as written, BindError.
    """
    run_until_told(Server(handler, bind, name=name, **settings))


def run_until_told(server: Server) -> Stop:
    """Start ``server``, print its ready line, and run it until SIGINT or SIGTERM."""
    server.start()
    with server.signals():  # before the line that tells others where to send them
        print(server.ready_line, flush=True)
        server.run()
    return server._stop


class Server:
    """A message server on one loop.

    Blocking: ``server.run()``. On the running asyncio or uvloop loop: ``await server.serve()``. In
    a thread of its own, for embedding and tests::

        with epollo.Server(handle, "127.0.0.1:0") as server:
            client = epollo.connect(server.addresses[0])
    """

    def __init__(
        self,
        handler: Handler = echo,
        bind: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        broker: Broker | None = None,
        **settings: Any,
    ) -> None:
        if bind is not None:
            settings["bind"] = bind
        self.settings: Settings = settings_from(**settings)
        self._service = Service(self.settings, application(handler, name))
        self._binds = address.parse_all(self.settings.bind)
        self._bind_given = "bind" in settings
        self._publisher = Publisher(
            self._service.groups, self._service.framing, LocalBroker() if broker is None else broker
        )
        self._loop: EventLoop | None = None
        self._acceptors: list[Acceptor] = []
        self._background: Background | None = None
        self._finish: Callable[[], object] = _nothing  # ends the serving
        self._stopping = False
        self._told_to_stop = False
        self._stop = Stop(self.settings.graceful_timeout)
        self._watchdog = Watchdog(self._stop)
        self._signals = Signals(self._watchdog)
        self.addresses: list[str] = []
        """The addresses really bound, once started: port 0 has become a number."""

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections being served: a copy, in any thread. By the time that another thread
        than the loop's looks at one of them, it may be closed."""
        return frozenset(() if self._loop is None else self._loop.connections())

    @property
    def counters(self) -> Counts:
        """What was counted since this server was made, all of one moment. From any thread."""
        return self._service.counters.snapshot()

    @property
    def ready_line(self) -> str:
        """What `serve` prints when it is ready; scripts read the port from it."""
        where = ", ".join(self.addresses)
        loop = self._started
        how = f"{loop.name} engine, {loop.poller_name}, framing {self._service.framing.name}"
        return f"epollo: serving {self._service.application.name} on {where} ({how}, 1 worker)"

    def start(self) -> None:
        """Bind and listen; connections queue in the kernel until `run`. Raises BindError, and
        EngineMissing for what async handlers need."""
        if self._loop is not None:
            raise RuntimeError("the server is started already")
        self._loop = new_loop(self.settings.engine, self.settings.poller)
        self._stopping = self._told_to_stop = False
        self._signals.restart()
        self._stop.clear()
        self._service.restart()
        self.addresses.clear()
        try:
            Deadlines(self._loop, self.settings)
            self._service.watch_handler(self._loop)
            self._take_what_systemd_passed()
            self._publisher.begin(self._loop)
            for bind in self._binds:
                self._listen(self._loop, bind)
            if self._service.application.asynchronous:
                from epollo.server import asyncio_adapter

                asyncio_adapter.check(self._loop, self.settings.loop)
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Serve until `stop`, or until SIGINT or SIGTERM where this is the main thread.

        Async handlers are run on a loop made for them, of the kind that the setting ``loop`` names.
        """
        if self._loop is None:
            self.start()
        try:
            with self.signals(), self._watchdog.watching():
                if self._service.application.asynchronous:
                    # asyncio is imported for async handlers only
                    from epollo.server import asyncio_adapter

                    asyncio_adapter.run(
                        self._serve_alone, self.settings.loop, self._stop, self._watchdog
                    )
                else:
                    self._run_plain()
        except StopOverdue as error:  # of `started` or `stopped`: others end their connection
            self._stop.leave_behind([place_of(error)])
        finally:
            self.close()
            self._stop.report()

    def _run_plain(self) -> None:
        engine, application = self._started, self._service.application
        self._begin(engine.stop)
        with self._watchdog.in_hook():
            application.started(self)
        self._tell_ready()
        try:
            with waking(engine), self._watchdog.in_loop(engine.call_threadsafe):
                engine.run()
        finally:
            self._stop.ensure()
            with self._watchdog.in_hook():  # `disconnected` of those that are still connected
                self._abort()
                self.close()
            self._service.runner.close(self._stop)
            with self._watchdog.in_hook():
                application.stopped(self)

    async def serve(self) -> None:
        """Serve on the running loop, asyncio's or uvloop's, until `stop`. Cancelled, it aborts what
        is open. It returns, or raises, when the sockets are closed and all handlers have ended, or
        half a second after the grace. Raises EngineMissing for a poller that is no descriptor."""
        try:
            await self._serve(nullcontext())
        finally:
            self._stop.report()

    async def _serve(self, wakeup: AbstractContextManager[None]) -> None:
        from epollo.server import asyncio_adapter

        if self._loop is None:
            self.start()
        try:
            guest = asyncio_adapter.Guest(self._started)
            self._begin(guest.stop)
            if not await asyncio_adapter.call(self._service.application.started, self, self._stop):
                return
            self._tell_ready()
            try:
                with wakeup:  # no longer than the engine has the descriptor for it
                    await guest.run()
            finally:
                self._abort()
                self.close()
                await self._finish_handlers()
        finally:
            self.close()

    async def _finish_handlers(self) -> None:
        from epollo.server import asyncio_adapter

        self._stop.ensure()
        await asyncio_adapter.finish(self._service.runner, self._stop)
        await asyncio_adapter.call(self._service.application.stopped, self, self._stop)

    async def _serve_alone(self) -> None:
        # Within the loop: uvloop has a wakeup descriptor of its own, and puts back what was before.
        await self._serve(waking(self._started))

    def _begin(self, finish: Callable[[], object]) -> None:
        """Serving begins in this thread, and ``finish`` ends it."""
        self._finish = finish
        self._service.runner.begin(self._started)

    def _tell_ready(self) -> None:
        if self._background is not None:
            self._background.ready()

    def stop(self, grace: float | None = None) -> None:
        """Stop accepting, answer what has arrived, send it, close; abort what is left after
        ``grace`` seconds (``graceful_timeout`` where not given). Returns at once; callable from
        any thread and from signal handlers. A second call aborts at once.
        """
        loop = self._loop
        seconds = self.settings.graceful_timeout if grace is None else parse_seconds(grace)
        if loop is not None:
            self._told_to_stop = True
            self._stop.begin(seconds)
            loop.call_threadsafe(lambda: self._drain(loop, seconds))

    def publish(self, group: str, message: Buffer, exclude: Connection | None = None) -> None:
        """Send ``message`` to all that are in ``group``, but to ``exclude``; from any thread.

        It returns at once. Each member has its own queue, so none waits for a slow one, which is
        closed when ``max_unsent`` bytes wait for it; one that closes meanwhile is passed over.
        The members are those at the time when the loop's thread comes to it. Raises EncodeError.
        """
        self._publisher.publish(group, message, exclude)

    def __enter__(self) -> Self:
        """Serve in a thread, once ``started`` has run there: raises what that raises."""
        if self._loop is None:
            self.start()
        self._background = Background(self.run)
        try:
            self._background.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if not self._told_to_stop:  # a second time would abort what it was told to finish
            self.stop()
        if self._background is not None:
            background, self._background = self._background, None
            background.join(self._stop)
            self._stop.report()

    @property
    def _started(self) -> EventLoop:
        if self._loop is None:
            raise RuntimeError("the server is not started; call start() or run() first")
        return self._loop

    def _listen(self, loop: EventLoop, bind: address.Address) -> None:
        how = self.settings
        listener = address.listen(
            bind, how.backlog, keepalive=how.keepalive, mode=how.socket_mode, others=self._binds
        )
        self.addresses.append(str(address.of(listener.getsockname())))
        service = self._service
        self._acceptors.append(Acceptor(loop, listener, bind, service, service.admission))

    def _take_what_systemd_passed(self) -> None:
        """Listen there, where no ``bind`` was given, which says it better."""
        passed = address.activated()
        if passed and not self._bind_given:
            self._binds = passed
        elif unserved := [str(each) for each in passed if each not in self._binds]:
            _log.warning(
                "not served, since bind says otherwise: %s, passed by systemd; leave bind out, or"
                " name them there",
                ", ".join(unserved),
            )

    def _drain(self, loop: EventLoop, grace: float) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        if self._stopping:
            self._abort()
            return
        self._stopping = True
        self._service.on_empty = self._finish
        loop.call_later(grace, self._abort)
        for newcomer in loop.newcomers():
            newcomer.abort(CloseReason.SHUTDOWN)
        for connection in self.connections:
            connection.drain()
        self._service.check_empty()

    def _abort(self) -> None:
        """Close all that is left. What handlers still do then is not waited for for long."""
        for connection in self.connections:
            connection.abort(CloseReason.SHUTDOWN)
        self._service.check_empty()
        if self._loop is not None:
            self._loop.call_later(CLEANUP_SECONDS, self._finish)

    def close(self) -> None:
        """Close a server that was started and is not running; `run` does so when it ends."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                self._publisher.end()
            finally:
                loop.close()

    def signals(self) -> AbstractContextManager[None]:
        """SIGINT and SIGTERM stop the server, a second one at once; a third one ends the process.
        A function that blocks this thread is interrupted when the stop has to be over. Only in the
        main thread (signal(7))."""
        return self._signals.handled(self.stop)


def _nothing() -> None:
    pass
