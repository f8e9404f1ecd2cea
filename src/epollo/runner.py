"""How an application's functions are called. This is the contract, and the plain way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from epollo.engine import CloseReason, Connection, EventLoop
from epollo.handler import Application, Received

_log = logging.getLogger("epollo.server")


class Runner(Protocol):
    """Calls the functions of one application, in order for each connection."""

    @property
    def received(self) -> Received: ...
    def begin(self, engine: EventLoop) -> None:
        """Serving begins, in this thread."""

    @property
    def connected(self) -> Callable[[Connection], object]: ...
    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Call ``done`` when the last handler of the connection has ended."""

    def close(self) -> None:
        """Serving is over, and the engine closed: wait for what still runs in other threads."""


class Direct:
    """Calls plain functions in the loop's own thread."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.received = application.received
        self.connected = application.connected

    def begin(self, engine: EventLoop) -> None:
        """There is nothing to prepare."""

    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        try:
            self._application.disconnected(connection, reason)
        finally:
            done()

    def close(self) -> None:
        """All that was called has returned."""


def report_disconnected(error: Exception) -> None:
    """There is no connection any more that the error could close."""
    _log.error("the handler raised in disconnected", exc_info=error)
