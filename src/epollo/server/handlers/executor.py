"""How an application's functions are called. This is the contract, and the plain way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice
from typing import Protocol

from epollo.engine import CloseReason, Connection, EventLoop
from epollo.server.handlers.application import Application, Received
from epollo.server.stopping import Stop

DISCONNECTED_RAISED = "the handler raised in disconnected"
"""What is logged: there is no connection any more that the error could close."""


class Executor(Protocol):
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

    def close(self, stop: Stop) -> None:
        """Serving is over, and the engine closed: wait for what still runs in other threads, until
        the deadline."""


class InlineExecutor:
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

    def close(self, stop: Stop) -> None:
        """All that was called has returned."""


def unfinished(name: str, connections: Collection[Connection]) -> list[str]:
    """What a stop leaves behind if the handler ``name`` is still at work for these."""
    if not connections:
        return []
    peers = ", ".join(connection.peername for connection in islice(connections, 3))
    more = f" and {len(connections) - 3} more" if len(connections) > 3 else ""
    return [f"handler {name} for {peers}{more}"]
