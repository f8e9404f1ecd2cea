"""One application as the engine sees it: the protocol that all its connections share."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from epollo import address, framing
from epollo.admission import Admission
from epollo.counters import Counters
from epollo.engine import CloseReason, Connection, Limits
from epollo.engine.filter import Filter
from epollo.handler import Application
from epollo.proxy import Proxy
from epollo.settings import Settings
from epollo.tls import TLS, server_context

_log = logging.getLogger("epollo.server")

# A reset or a hang-up is a day's business of a server; what a peer did wrong is worth a line; what
# a handler did is a bug. Of those refused, `Admission` tells, a line a second.
LEVELS = {
    CloseReason.EOF: logging.DEBUG,
    CloseReason.RESET: logging.DEBUG,
    CloseReason.LOCAL: logging.DEBUG,
    CloseReason.SHUTDOWN: logging.DEBUG,
    CloseReason.REFUSED: logging.DEBUG,
    CloseReason.IDLE_TIMEOUT: logging.DEBUG,
    CloseReason.TRUNCATED: logging.INFO,
    CloseReason.BAD_FRAME: logging.INFO,
    CloseReason.FRAME_TOO_LARGE: logging.INFO,
    CloseReason.FRAME_TIMEOUT: logging.INFO,
    CloseReason.WRITE_TIMEOUT: logging.INFO,
    CloseReason.TLS_ERROR: logging.INFO,
    CloseReason.PROXY_ERROR: logging.INFO,
    CloseReason.SLOW_CONSUMER: logging.INFO,
    CloseReason.HANDLER_ERROR: logging.ERROR,
}


class Service:
    """Keeps the connections of one application and tells it, and the log, of their ends."""

    def __init__(self, settings: Settings, application: Application) -> None:
        self.application = application
        self.framing = framing.parse(settings.framing, settings.max_frame)
        self.limits = Limits(high_water=settings.high_water, max_unsent=settings.max_unsent)
        self.received = application.received
        self.tls = _context(settings)
        self._settings = settings
        self.filters = (
            self._filters if self.tls is not None or settings.proxy_protocol != "off" else None
        )
        self.counters = Counters()
        self._proxied = settings.proxy_protocol != "off"
        self.admission = Admission(
            self.counters, settings.max_connections, settings.max_per_ip, proxied=self._proxied
        )
        self.connected_count = 0
        self.on_empty: Callable[[], object] | None = None

    def connected(self, connection: Connection) -> None:
        self.connected_count += 1
        if self._proxied:  # the client is known from now on
            self.admission.identify(connection, address.parse(connection.peername).host)
        if not connection.closed:
            self.application.connected(connection)

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        refusal = self.admission.leave(connection) if self.admission.bounded else None
        if refusal is None:
            self.counters.count_closed(reason)
        else:
            self.counters.count_refused(refusal)
        self._log_close(connection, reason)
        if not connection.established:  # reset before
            return
        self.connected_count -= 1
        try:
            if refusal is None:
                self.application.disconnected(connection, reason)
        finally:
            self.check_empty()

    def _filters(self, connection: Connection) -> list[Filter]:
        filters: list[Filter] = []
        if self._proxied:
            required = self._settings.proxy_protocol == "required"
            filters.append(Proxy(self._settings.tls_timeout, required))
        if self.tls is not None:
            filters.append(TLS(self.tls, self._settings.tls_timeout))
        return filters

    def check_empty(self) -> None:
        """Call ``on_empty``, where set, once nobody is connected any more."""
        if not self.connected_count and self.on_empty is not None:
            self.on_empty()

    def _log_close(self, connection: Connection, reason: CloseReason) -> None:
        level = LEVELS[reason]
        if not _log.isEnabledFor(level):
            return
        if reason is CloseReason.HANDLER_ERROR:
            name, error = self.application.name, connection.error
            _log.log(
                level, "handler %s raised, closed %s", name, connection.peername, exc_info=error
            )
        elif connection.error is not None:
            _log.log(level, "closed %s: %s: %s", connection.peername, reason, connection.error)
        else:
            _log.log(level, "closed %s: %s", connection.peername, reason)


def _context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert:
        return server_context(settings.tls_cert, settings.tls_key, settings.tls_ca)
    return settings.tls
