"""The server: starts, serves, publishes and stops."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self, Unpack, cast

from epollo.address import parse_broker
from epollo.descriptors import all_descriptors
from epollo.engine import (
    NOT_BUILT,
    Connection,
    EventLoop,
    native_missed,
    new_loop,
)
from epollo.engine.delayed_calls import DelayedCall, call_later
from epollo.errors import SettingError
from epollo.framing import Buffer
from epollo.logs.files import reopen_log_files
from epollo.logs.logger import logger
from epollo.server import allocator, collector, contradictions
from epollo.server.admin import Admin
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.certificates import Certificates
from epollo.server.counters import Counts
from epollo.server.groups.broker import Broker, ClusterBroker, LocalBroker
from epollo.server.groups.publisher import Publisher
from epollo.server.handlers.application import application, echo
from epollo.server.handlers.handler import Handler
from epollo.server.hooks import Hooks
from epollo.server.inspection import Inspection, OwnInquiry
from epollo.server.listeners import Listeners
from epollo.server.notices import Notices
from epollo.server.operations import OwnOperations
from epollo.server.own_server import OwnServer
from epollo.server.process import ServerProcess, check_descriptors, check_not_given
from epollo.server.shared_counts import Cell
from epollo.server.shutdown import Shutdown
from epollo.server.signals import Signals, signal_wakeup
from epollo.server.stopping import (
    Stop,
    StopOverdue,
    Watchdog,
    place_of,
)
from epollo.server.thread import ServerThread
from epollo.server.timeouts import TimeoutSweeper
from epollo.setting_values import Addresses, EmbeddedValues, ServerValues
from epollo.settings import Settings, chosen_settings
from epollo.units import parse_seconds

CALL_RAISED = "the handler raised in a function of server.call_later"

_log = logger("epollo.server")


def run_until_signalled(server: Server) -> Stop:
    """Start ``server``, print its ready line, and run it until SIGINT or SIGTERM. Meanwhile this
    process may have as many descriptors as its hard limit allows."""
    process, notices = ServerProcess(server.settings), Notices()
    server._shutdown.on_stopping = notices.stopping
    server._process_settings_apply = True
    with all_descriptors() as limit:
        check_descriptors(server.settings.max_connections, limit)
        server.start()
        with server.closed_on_error():
            files = [] if server._admin is None else server._admin.files
            process.begin([*server._listeners.files, *files])
        begin = partial(notices.begin, server._started, server.ready_line)
        server._started.call_threadsafe(begin)  # in the first turn, when ``started`` has returned
        # Before the ready line, after which others may send signals.
        with process.ready(), server.signals():
            print(server.ready_line, flush=True)
            server.run()
    return server._stop


class Server:
    """A message server on one loop.

    Blocking: ``server.run()``. On the running asyncio or uvloop loop: ``await server.serve()``. In
    a thread of its own, for embedding and tests::

        with epollo.Server(handle, "127.0.0.1:0") as server:
            client = epollo.connect(server.addresses[0])

    ``settings`` holds all settings, instead of the keyword arguments. If ``bind`` is given too, it
    replaces the one in ``settings``.
    """

    _inherited_certificates: Certificates | None = None  # made before a fork
    _cell: Cell | None = None  # of the limits that hold over several processes

    def __init__(
        self,
        handler: Handler = echo,
        bind: Addresses | None = None,
        *,
        name: str | None = None,
        broker: Broker | str | None = None,
        settings: Settings | None = None,
        **values: Unpack[EmbeddedValues],
    ) -> None:
        chosen = cast(ServerValues, dict(values))
        if isinstance(broker, str):
            chosen["broker"] = broker
        self.settings: Settings = chosen_settings(settings, bind, chosen)
        self._check_workers()
        bind_given = bind is not None or self.settings.bind != Settings().bind
        self._protocol = ApplicationProtocol(
            self.settings, application(handler, name), self._inherited_certificates, self._cell
        )
        self._inspection: Inspection = Inspection(self._protocol)
        self._listeners = Listeners(self.settings, self._protocol, bind_given=bind_given)
        given = chosen.keys() if settings is None else settings.changed
        contradictions.check(
            self.settings, given, self._protocol.application, self._listeners.binds
        )
        self._cluster: ClusterBroker | None = None
        self._publisher = Publisher(
            self._protocol.groups,
            self._protocol.framing,
            self._chosen_broker(None if isinstance(broker, str) else broker),
        )
        self._loop: EventLoop | None = None
        self._admin: Admin | None = None
        self._thread: ServerThread | None = None
        self._run_lock = threading.Lock()  # held while the server runs
        self._serving = False  # `started` has returned
        self._process_settings_apply = False
        self._stop = Stop(self.settings.graceful_timeout)
        self._hooks = Hooks(self._protocol, self._stop)
        self._shutdown = Shutdown(self.settings, self._protocol, self._listeners, self._stop)
        self._watchdog = Watchdog(self._stop)
        self._signals = Signals(self._watchdog)
        self.addresses: list[str] = self._listeners.addresses
        """The bound addresses, once started: port 0 is replaced by the real port."""

    def _chosen_broker(self, given: Broker | None) -> Broker:
        """The one that is ``given`` as an object, or the one that the settings name."""
        if not self.settings.broker:
            return LocalBroker() if given is None else given
        if given is not None:
            raise SettingError("broker: given as an object and as a URL; leave one of them out")
        return self._cluster_broker(os.urandom(8))

    def _cluster_broker(self, node: bytes) -> Broker:
        """The broker that the settings name, for a process of ``node``."""
        if importlib.util.find_spec("nats") is None:
            raise SettingError("broker: needs nats-py: pip install 'epollo[nats]'")
        # Here, since that package is optional.
        from epollo.server.groups.cluster.broker import NatsBroker

        address = parse_broker(self.settings.broker)
        name = f"epollo {self._protocol.application.name}"
        broker = NatsBroker(address, node, name, self.settings.max_unsent)
        self._cluster = broker
        self._protocol.figures.broker = lambda: broker.counts
        return broker

    def _check_workers(self) -> None:
        if self.settings.workers:
            raise SettingError(
                "workers: a Server is one process; call epollo.serve('module:attribute', workers=N)"
            )

    @property
    def connections(self) -> frozenset[Connection]:
        """The open connections: a copy, from any thread. Outside the loop's thread, each of them
        may be closed at any time."""
        return frozenset(() if self._loop is None else self._loop.connections())

    @property
    def counters(self) -> Counts:
        """Totals since this server was created, consistent with each other. From any thread."""
        counts = self._protocol.counters.snapshot()
        return counts if self._cluster is None else replace(counts, broker=self._cluster.counts)

    @property
    def metrics_url(self) -> str:
        """The URL of ``metrics`` while the server is started: port 0 is replaced by the real port.
        For a Unix socket it is the address. Empty without the setting."""
        return "" if self._admin is None else self._admin.metrics_url

    @property
    def ready_line(self) -> str:
        """The line that `serve` prints when it is ready; scripts read the port from it. If the
        native engine could have been built and was not, the line says so behind the rest."""
        where = ", ".join(self.addresses)
        loop = self._started
        how = f"{loop.name} engine, {loop.poller_name}, framing {self._protocol.framing.name}"
        count = max(1, self.settings.workers)
        how += f", {count} worker{'s' if count > 1 else ''}"
        line = f"epollo: serving {self._protocol.application.name} on {where} ({how})"
        missed = native_missed(self.settings.engine, self.settings.poller)
        return f"{line}; {NOT_BUILT}" if missed else line

    def start(self) -> None:
        """Bind and listen; connections queue in the kernel until `run`. Raises BindError, and
        EngineMissing if async handlers need a loop or a poller that is missing."""
        if self._loop is not None:
            raise RuntimeError("the server is started already")
        self._loop = new_loop(self.settings.engine, self.settings.poller)
        self._signals.restart()
        self._stop.clear()
        self._protocol.restart()
        self.addresses.clear()
        try:
            sweeper = TimeoutSweeper(self._loop, self.settings)
            if self.settings.control:
                sweeper.start()  # its ticks tell for how long a Unix socket was idle
            stopping = partial(self._hooks.call, "stopping", self._loop, self)
            self._shutdown.begin(self._loop, sweeper, stopping)
            self._protocol.begin(self._loop)
            self._listeners.use_systemd_sockets()
            if self._cluster is not None:
                self._cluster.attach(self._loop, self._protocol.groups, self._tell_missed)
            self._publisher.begin(self._loop)
            self._listeners.open(self._loop)
            self._inspection.begin(self._loop, sweeper.period)
            self._open_admin(self._loop)
            if self._protocol.application.asynchronous:
                from epollo.server import asyncio_adapter

                asyncio_adapter.check(self._loop, self.settings.loop)
        except BaseException:
            self._close()
            raise

    def _open_admin(self, loop: EventLoop) -> None:
        own = OwnServer(lambda: self._serving and not self._shutdown.asked)
        inquiry = OwnInquiry(self._inspection, lambda: self._shutdown.asked)
        operations = OwnOperations(
            lambda: self.ready_line, lambda: self._shutdown.asked, self._stop_by_signal
        )
        self._admin = Admin(loop, self.settings, inquiry, own, operations)

    def run(self) -> None:
        """Serve until `stop` or, in the main thread, until SIGINT or SIGTERM. Raises RuntimeError
        if the server is running already.

        Async handlers run on a new loop of the kind that the setting ``loop`` names.
        """
        with self._running():
            self._run()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The server runs for the ``with`` block; once at a time, since each end would be the end
        of the other."""
        if not self._process_settings_apply:
            check_not_given(self.settings)
        if not self._run_lock.acquire(blocking=False):
            raise RuntimeError("the server is running already; make another Server, or stop it")
        try:
            yield
        finally:
            self._run_lock.release()

    def _run(self) -> None:
        if self._loop is None:
            self.start()
        self._begin_loop()
        try:
            with self.signals(), self._watchdog.watching():
                if self._protocol.application.asynchronous:
                    # Here, so that asyncio is imported for async handlers only.
                    from epollo.server import asyncio_adapter

                    asyncio_adapter.run(
                        self._serve_with_wakeup, self.settings.loop, self._stop, self._watchdog
                    )
                else:
                    self._run_plain()
        except StopOverdue as error:  # in `started` or `stopped`; elsewhere it closes a connection
            self._stop.leave_behind([place_of(error)])
        finally:
            self._close()
            self._stop.report()

    def _begin_loop(self) -> None:
        """This process is the one to serve."""
        self._started.begin()
        if self._admin is not None:
            self._admin.begin()

    def _run_plain(self) -> None:
        engine, application = self._started, self._protocol.application
        post, slow_handlers = engine.call_threadsafe, self._protocol.slow_handlers
        with self._watchdog.in_hook(), slow_handlers.in_hook(application, "started"):
            application.started(self)
        self._begin(engine.stop)
        try:
            with (
                signal_wakeup(engine),
                self._watchdog.in_loop(post),
                slow_handlers.watching(post),
            ):
                engine.run()
        finally:
            if not engine.inherited:
                self._end_plain()

    def _end_plain(self) -> None:
        application, slow_handlers = self._protocol.application, self._protocol.slow_handlers
        self._stop.ensure()
        with self._watchdog.in_hook():  # `disconnected` is called for the open connections
            self._shutdown.abort()
            self._close()
        self._protocol.executor.close(self._stop)
        with self._watchdog.in_hook(), slow_handlers.in_hook(application, "stopped"):
            application.stopped(self)

    async def serve(self) -> None:
        """Serve on the running loop, asyncio's or uvloop's, until `stop`. If cancelled, it aborts
        all connections. It returns, or raises, when the sockets are closed and all handlers have
        ended, or half a second after the grace. Raises EngineMissing if the poller is not itself
        a descriptor, and RuntimeError if the server is running already."""
        with self._running():
            try:
                await self._serve(nullcontext())
            finally:
                self._stop.report()

    async def _serve(self, wakeup: AbstractContextManager[None]) -> None:
        from epollo.server import asyncio_adapter

        if self._loop is None:
            self.start()
        self._begin_loop()
        application, slow_handlers = self._protocol.application, self._protocol.slow_handlers
        try:
            adapter = asyncio_adapter.AsyncioAdapter(self._started)
            with slow_handlers.in_hook(application, "started"):
                if not await asyncio_adapter.call(application.started, self, self._stop):
                    return
            self._begin(adapter.stop)
            try:
                with wakeup, slow_handlers.watching(adapter.post):
                    await adapter.run()  # ends before the engine closes the wakeup descriptor
            finally:
                if not adapter.inherited:
                    self._shutdown.abort()
                    self._close()
                    await self._finish_handlers()
        finally:
            self._close()

    async def _finish_handlers(self) -> None:
        from epollo.server import asyncio_adapter

        self._stop.ensure()
        await self._hooks.end()
        await asyncio_adapter.finish(self._protocol.executor, self._stop)
        application = self._protocol.application
        with self._protocol.slow_handlers.in_hook(application, "stopped"):
            await asyncio_adapter.call(application.stopped, self, self._stop)

    async def _serve_with_wakeup(self) -> None:
        # Inside the running loop: uvloop sets a wakeup descriptor of its own, and restores the old
        # one when it ends.
        await self._serve(signal_wakeup(self._started))

    def _begin(self, finish: Callable[[], object]) -> None:
        """Serving begins in this thread, as ``started`` has returned; ``finish`` ends it."""
        self._shutdown.finish, self._serving = finish, True
        self._protocol.executor.begin(self._started)
        if self._process_settings_apply:
            collector.leave_out_what_is_loaded()
            allocator.keep_freed(self._started)
        if self._thread is not None:
            self._thread.ready()

    def stop(
        self, grace: str | float | None = None, *, delay: str | float = 0, quick: bool = False
    ) -> None:
        """Stop accepting, answer what has arrived, and end each connection when it was silent for
        ``drain_quiet``, spread over ``goodbye_over``; after ``grace`` seconds (default:
        ``graceful_timeout``) abort the remaining connections. Returns at once; callable from any
        thread and from signal handlers.

        With ``delay``, go on accepting for that time before. With ``quick``, end connections
        as soon as what has arrived is answered, with no quiet period and not spread. A second call
        ends the delay; if there is none, it aborts at once.
        """
        seconds = self.settings.graceful_timeout if grace is None else parse_seconds(grace)
        self._shutdown.ask(seconds, parse_seconds(delay) if delay else 0.0, quick)

    def _tell_missed(self, group: str, count: int) -> None:
        if self._loop is not None:
            self._hooks.call("missed", self._loop, self, group, count)

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the server if the ``with`` block raises."""
        try:
            yield
        except BaseException:
            self._close()
            raise

    def close(self) -> None:
        """Close a server that was started but is not running; `run` itself closes at its end.
        Raises RuntimeError if it is running."""
        if self._run_lock.locked():
            raise RuntimeError("the server is running; call stop")
        self._close()

    def _close(self) -> None:
        self._listeners.close()
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        self._serving = False
        loop, self._loop = self._loop, None
        self._shutdown.forget()
        if loop is not None and loop.inherited:
            loop.close()
        elif loop is not None:
            try:
                self._publisher.end()
            finally:
                loop.close()
                self._protocol.end_log()
                self._inspection.end()

    def publish(self, group: str, message: Buffer, exclude: Connection | None = None) -> None:
        """Send ``message`` to all members of ``group`` except ``exclude``. From any thread.

        Returns at once. Each member has its own queue, so a slow member delays no other; it is
        closed when more than ``max_unsent`` bytes wait for it. Members that close meanwhile are
        skipped. The members are those at this call. Raises EncodeError.
        """
        self._publisher.publish(group, message, exclude)

    def call_later(
        self, delay: str | float, function: Callable[..., object], *arguments: object
    ) -> DelayedCall:
        """Call ``function(*arguments)`` once, after ``delay``, a number of seconds or text such as
        ``"250ms"``, unless the server has ended by then: in the thread of its event loop, with the
        setting ``threads`` too. What it raises is logged. From any thread, once the server is
        started, as it is in ``started``. Raises UsageError, and RuntimeError before."""
        loop = self._started

        def run(call: Callable[[], object]) -> None:
            try:
                call()
            except BaseException as error:
                loop.report(error, CALL_RAISED)

        return call_later(loop, self, delay, function, arguments, run)

    def reload_certificates(self) -> None:
        """Read the files of TLS anew now, for new connections. If they cannot be used, the log
        says why, and the certificates from before are still served. Without files it does nothing.
        Returns at once; callable from any thread and from signal handlers."""
        loop, certificates = self._loop, self._protocol.certificates
        if loop is None:
            certificates.reload()
        else:
            loop.call_threadsafe(certificates.reload)

    def reopen_logs(self) -> None:
        """Open the log files of this process anew, after they were moved away: the access log, and
        the file of ``epollo serve --log-file``. Returns at once; callable from any thread and
        from signal handlers."""
        loop = self._loop
        if loop is None:
            reopen_log_files()
        else:
            loop.call_threadsafe(reopen_log_files)

    def signals(self) -> AbstractContextManager[None]:
        """SIGINT and SIGTERM stop the server: SIGINT with no quiet period, SIGTERM after
        ``drain_delay``. A second one ends the delay or, if there is none, closes all connections;
        a third one ends the process. After the deadline of a stop, a function that blocks this
        thread is interrupted. SIGUSR1 calls `reopen_logs`, unless the program handles it itself.
        Works only in the main thread (signal(7))."""
        return self._signals.handled(self._stop_by_signal, reopen_logs=self.reopen_logs)

    def _stop_by_signal(self, number: int) -> bool:
        """Returns false if it has only ended the delay of a stop."""
        delayed = self._shutdown.delayed
        if number == signal.SIGTERM:
            self.stop(delay=self.settings.drain_delay)
        else:  # Ctrl-C: somebody waits
            self.stop(quick=True)
        return not delayed

    def __enter__(self) -> Self:
        """Serve in a thread. Returns when ``started`` has run there; raises its error. An error
        that ends the thread later is raised at the end of the ``with`` block. Raises RuntimeError
        if the server is running already."""
        with self._running():
            if self._loop is None:
                self.start()
        self._thread = ServerThread(self.run)
        try:
            self._thread.start()
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
        if not self._shutdown.asked:  # a second call would abort the drain
            self.stop(quick=True)
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.join(self._stop)
            self._stop.report()
            thread.raise_failure(error)

    @property
    def _started(self) -> EventLoop:
        if self._loop is None:
            raise RuntimeError("the server is not started; call start() or run() first")
        return self._loop
