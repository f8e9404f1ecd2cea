"""One application as the engine sees it: the protocol that all its connections share."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from epollo import address, framing
from epollo.causes import text_of
from epollo.engine import CloseReason, Connection, EngineConnection, EventLoop, Limits, Reply
from epollo.errors import HandlerError, HandlerTimeout
from epollo.filters.base import Filter
from epollo.filters.proxy import Proxy
from epollo.filters.tls import TLS
from epollo.framing.own import checked
from epollo.logs.logger import logger
from epollo.server.access_log import OFF, AccessLog
from epollo.server.certificates import Certificates
from epollo.server.closed_connections import ClosedConnections
from epollo.server.counters import Counters
from epollo.server.figures import Figures
from epollo.server.groups.registry import Groups
from epollo.server.handlers.application import Application
from epollo.server.handlers.executor import Executor, InlineExecutor
from epollo.server.limits import ConnectionLimiter
from epollo.server.log_limiter import LogLimiter, kind_of
from epollo.server.memory_budget import MemoryBudget
from epollo.server.message_count import MessageCount
from epollo.server.rates import MessageRates
from epollo.server.shared_counts import Cell
from epollo.server.slow_handlers import SlowHandlers
from epollo.settings import Settings

_log = logger("epollo.server")

# Resets and hang-ups are everyday events; a peer's fault is worth a line; a handler's error is a
# bug. Refused connections are logged by `ConnectionLimiter`, at most one line a second, and of all
# others `LogLimiter` logs one line a second of each kind.
LEVELS = {
    CloseReason.EOF: logging.DEBUG,
    CloseReason.RESET: logging.DEBUG,
    CloseReason.LOCAL: logging.DEBUG,
    CloseReason.SHUTDOWN: logging.DEBUG,
    CloseReason.REFUSED: logging.DEBUG,
    CloseReason.IDLE_TIMEOUT: logging.DEBUG,
    CloseReason.TRUNCATED: logging.INFO,
    CloseReason.BAD_FRAME: logging.INFO,
    CloseReason.BAD_MESSAGE: logging.INFO,
    CloseReason.FRAME_TOO_LARGE: logging.INFO,
    CloseReason.FRAME_TIMEOUT: logging.INFO,
    CloseReason.WRITE_TIMEOUT: logging.INFO,
    CloseReason.TLS_ERROR: logging.INFO,
    CloseReason.PROXY_ERROR: logging.INFO,
    CloseReason.SLOW_CONSUMER: logging.INFO,
    CloseReason.MEMORY: logging.DEBUG,  # `MemoryBudget` logs it
    CloseReason.HANDLER_ERROR: logging.ERROR,
}


class ApplicationProtocol:
    """Owns what the connections of one application share; tells the application, the counters and
    the log when one begins and ends."""

    def __init__(
        self,
        settings: Settings,
        application: Application,
        certificates: Certificates | None = None,
        cell: Cell | None = None,
    ) -> None:
        self.application = application
        self.framing: framing.Framing = checked(framing.parse(settings.framing, settings.max_frame))
        self.limits: Limits = Limits(
            high_water=settings.high_water,
            max_unsent=settings.max_unsent,
            in_flight=settings.in_flight,
        )
        self.executor: Executor = _executor_for(application, self.limits, settings)
        self._log = LogLimiter()
        self._access_log = (
            None
            if settings.access_log == OFF
            else AccessLog(
                settings.access_log,
                settings.log_format,
                self._log,
                with_process=bool(settings.workers),
            )
        )
        self.counts: bool = bool(
            self._access_log is not None or settings.metrics or settings.control
        )
        """Does each connection count its messages and bytes?"""
        self.certificates: Certificates = (
            Certificates(settings, self._log)
            if certificates is None
            else certificates.shared(self._log)
        )
        self._settings = settings
        self._proxied = settings.proxy_protocol != "off"
        self._encrypted = self.certificates.context is not None and settings.tls_start != "handler"
        self.filters: Callable[[Connection], list[Filter]] | None = (
            self._filters if self._encrypted or self._proxied else None
        )
        self.tls_timeout: float = settings.tls_timeout
        self.idle_timeout: float = settings.idle_timeout
        self.counters: Counters = Counters()
        self.figures: Figures = Figures(self.counters)
        self.closed_connections: ClosedConnections = ClosedConnections()
        if self.counts:
            self.executor.time_calls(self.figures.calls)
        self.limiter: ConnectionLimiter = ConnectionLimiter(
            self.counters,
            settings.max_connections,
            settings.max_per_ip,
            max_rate_per_ip=settings.max_connect_rate_per_ip,
            proxied=self._proxied,
            cell=cell,
        )
        rate = settings.max_message_rate
        self.rates: MessageRates | None = MessageRates(rate) if rate else None
        self.message_count: MessageCount | None = (
            MessageCount() if settings.max_worker_messages else None
        )
        called_directly = isinstance(self.executor, InlineExecutor) and self.message_count is None
        self.wants_connection: bool = application.wants_connection or not called_directly
        """Is `received` called with the connection, too? Else the engine calls the user's own
        function, with the message."""
        self.groups: Groups = Groups()
        self.slow_handlers: SlowHandlers = SlowHandlers(application.name, settings.slow_handler)
        self.connected_count: int = 0
        self.on_empty: Callable[[], object] | None = None
        self.farewells: dict[EngineConnection, Callable[[EngineConnection], object]] = {}

    def restart(self) -> None:
        """Start again with no connections and no ``on_empty``."""
        self.connected_count = 0
        self.on_empty = None
        self.farewells.clear()

    @property
    def received(self) -> Callable[..., Reply]:
        if not self.wants_connection:
            return self.application.receive
        received = self.executor.received
        if self.message_count is not None:
            received = self.message_count.counted(received)
        return received

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """The context of a ``start_tls`` that is given none."""
        return self.certificates.context

    def begin(self, loop: EventLoop) -> None:
        """``loop`` is about to serve the application. Raises SettingError."""
        self._log.begin(loop)
        if self._access_log is not None:
            self._access_log.begin()
        self.certificates.begin(loop)
        if self._settings.max_memory:
            warn = partial(self._log.log, CloseReason.MEMORY, logging.WARNING)
            workers = self._settings.workers
            name = "max_memory of a worker" if workers else "max_memory"
            most = self._settings.max_memory // max(1, workers)
            MemoryBudget(most, warn, name).begin(loop)
        self.slow_handlers.begin(loop)
        if self.counts:
            self.figures.begin(loop, in_threads=bool(self._settings.threads))
        loop.on_error = self._log_error
        if self.rates is not None:
            self.rates.begin(loop)

    def end_log(self) -> None:
        """The loop is closed: log what is held back, and close the access log."""
        self.figures.end()
        if self._access_log is not None:
            self._access_log.end()
        self._log.end()

    def _log_error(self, error: BaseException, what: str) -> None:
        self._log.log((what, kind_of(error)), logging.ERROR, "%s", what, error=error)

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Make a call of ``connection.call_later``."""
        self.executor.run_call(connection, function)

    def create_task(self, connection: EngineConnection, work: Any, name: str | None) -> Any:
        """Run the coroutine ``work`` in a task of ``connection``. Raises UsageError."""
        return self.executor.create_task(connection, work, name)

    def connected(self, connection: EngineConnection) -> None:
        self.connected_count += 1
        if self._proxied:  # the client's address is known only now
            self.limiter.identify(connection, _host(connection.peername))
            if connection.closed:
                return
        if self.executor.tells_connected:
            self.executor.connected(connection)

    def closed(self, connection: EngineConnection, reason: CloseReason) -> None:
        try:
            if _log.logger.isEnabledFor(LEVELS[reason]):
                self._log_close(connection, reason)
            if self._access_log is not None:
                self._access_log.add(connection, reason)
        finally:  # a signal handler may have raised KeyboardInterrupt
            self._forget(connection, reason)

    def _forget(self, connection: EngineConnection, reason: CloseReason) -> None:
        """Count ``connection`` no more, and tell the application."""
        if self.counts:
            self.figures.closed.add(connection)
            self.closed_connections.add(connection, reason)
        refusal = self.limiter.remove(connection) if self.limiter.bounded else None
        if refusal is None:
            self.counters.count_closed(reason)
        else:
            self.counters.count_refused(refusal)
        if self.limiter.shares_total:
            self.limiter.settle()
        self.groups.forget(connection)
        if self.farewells:
            self.farewells.pop(connection, None)
        if self.rates is not None:
            self.rates.forget(connection)
        if not connection.established:  # closed before ``connected``
            self.check_empty()
            return
        if refusal is None and self.executor.tells_disconnected:
            self.executor.disconnected(connection, reason, self._count_disconnected)
        else:  # nobody is to be told, or the application never saw this connection
            self._count_disconnected()

    def _count_disconnected(self) -> None:
        self.connected_count -= 1
        if self.on_empty is not None:
            self.check_empty()

    def _filters(self, connection: Connection) -> list[Filter]:
        filters: list[Filter] = []
        if self._proxied:
            required = self._settings.proxy_protocol == "required"
            filters.append(Proxy(self._settings.tls_timeout, required))
        if self._encrypted and self.certificates.context is not None:
            filters.append(TLS(self.certificates.context, self._settings.tls_timeout))
        return filters

    def check_empty(self) -> None:
        """Call ``on_empty``, if set, when no connection is left."""
        if not self.connected_count and self.on_empty is not None:
            self.on_empty()

    def _log_close(self, connection: EngineConnection, reason: CloseReason) -> None:
        level, peer, error = LEVELS[reason], connection.peername, connection.error
        log = self._log.log
        extra = {"connection": connection.id, "peer": peer, "reason": str(reason)}
        if error is not None:
            extra["error"] = text_of(error)
        if isinstance(error, HandlerTimeout):
            log((reason, HandlerTimeout), level, "%s; closed %s", error, peer, extra=extra)
        elif reason is CloseReason.HANDLER_ERROR:
            name, kind = self.application.name, (reason, kind_of(error))
            text = "handler %s raised, closed %s"
            log(kind, level, text, name, peer, error=error, extra={**extra, "handler": name})
        elif error is not None:
            log(reason, level, "closed %s: %s: %s", peer, reason, extra["error"], extra=extra)
        else:
            log(reason, level, "closed %s: %s", peer, reason, extra=extra)


def _host(peername: str) -> str:
    """The host in ``peername``; empty for a Unix socket: a proxy may send any path."""
    return "" if peername.startswith("unix:") else address.parse(peername).host


def _executor_for(application: Application, limits: Limits, settings: Settings) -> Executor:
    """The executor for ``application``. Raises HandlerError if no executor suits it."""
    if application.asynchronous and settings.threads:
        raise HandlerError(
            f"handler {application.name!r} is async, and threads={settings.threads} is for plain "
            "handlers; set threads=0, and call what blocks with asyncio.to_thread"
        )
    if application.asynchronous:
        # Here, so that asyncio is imported for async handlers only.
        from epollo.server.handlers.coroutines import CoroutineExecutor

        return CoroutineExecutor(
            application, limits.in_flight, settings.ordered, settings.handler_timeout
        )
    if settings.threads:
        from epollo.server.handlers.threads import ThreadExecutor

        return ThreadExecutor(
            application,
            limits.in_flight,
            settings.ordered,
            settings.threads,
            settings.handler_timeout,
        )
    return InlineExecutor(application)
