"""One application as the engine sees it: the protocol that all its connections share."""

from __future__ import annotations

import logging
from collections.abc import Callable

from epollo import framing
from epollo.engine import CloseReason, Connection, Limits
from epollo.handler import Application
from epollo.settings import Settings

_log = logging.getLogger("epollo.server")

# A reset or a hang-up is a day's business of a server; what a peer did wrong is worth a line.
_QUIET = (CloseReason.EOF, CloseReason.RESET, CloseReason.LOCAL, CloseReason.SHUTDOWN)


class Service:
    """Keeps the connections of one application and tells it, and the log, of their ends."""

    def __init__(self, settings: Settings, application: Application) -> None:
        self.application = application
        self.framing = framing.parse(settings.framing, settings.max_frame)
        self.limits = Limits(high_water=settings.high_water, max_unsent=settings.max_unsent)
        self.received = application.received
        self.connected_count = 0
        self.on_empty: Callable[[], object] | None = None

    def connected(self, connection: Connection) -> None:
        self.connected_count += 1
        self.application.connected(connection)

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self._log_close(connection, reason)
        if not connection.established:  # reset before
            return
        self.connected_count -= 1
        try:
            self.application.disconnected(connection, reason)
        finally:
            self.check_empty()

    def check_empty(self) -> None:
        """Call ``on_empty``, where set, once nobody is connected any more."""
        if not self.connected_count and self.on_empty is not None:
            self.on_empty()

    def _log_close(self, connection: Connection, reason: CloseReason) -> None:
        if reason is CloseReason.HANDLER_ERROR:
            name, error = self.application.name, connection.error
            _log.error("handler %s raised, closed %s", name, connection.peername, exc_info=error)
        elif reason not in _QUIET:
            _log.info("closed %s: %s: %s", connection.peername, reason, connection.error or "")
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("closed %s: %s", connection.peername, reason)
