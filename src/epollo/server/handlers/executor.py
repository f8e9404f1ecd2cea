"""How the functions of an application are called: the contract, and the inline executor."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, NoReturn, Protocol

from epollo.engine import CloseReason, Connection, EngineConnection, EventLoop, Reply
from epollo.errors import UsageError
from epollo.server.figures import CallTimes
from epollo.server.handlers.application import Application
from epollo.server.stopping import Stop

DISCONNECTED_RAISED = "the handler raised in disconnected"
"""Logged with the error: the connection is closed already, so the error cannot close it."""


class Executor(Protocol):
    """Calls the functions of one application, in order for each connection."""

    tells_connected: bool  # else `connected` would do nothing, and need not be called
    tells_disconnected: bool  # the same for `disconnected`

    @property
    def received(self) -> Callable[[bytes, EngineConnection], Reply]: ...
    def time_calls(self, times: CallTimes) -> None:
        """Tell ``times`` of each call that goes on after its read. Before `begin`."""

    def begin(self, engine: EventLoop) -> None:
        """Serving begins, in this thread."""

    @property
    def connected(self) -> Callable[[EngineConnection], object]: ...
    @property
    def closing(self) -> Callable[[EngineConnection], object]: ...
    def disconnected(
        self, connection: EngineConnection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        """Call ``disconnected`` after all other calls for the connection, and ``done`` after it."""

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Make a call of ``call_later``; what it raises ends ``connection``."""

    def create_task(self, connection: EngineConnection, work: Any, name: str | None) -> Any:
        """Run the coroutine ``work`` in a task of ``connection``. Raises UsageError."""

    def close(self, stop: Stop) -> None:
        """Serving has ended and the engine is closed: wait for calls in other threads, at most
        until the deadline."""


class InlineExecutor:
    """Calls plain functions in the loop's own thread."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.tells_connected: bool = application.has("connected")
        self.tells_disconnected: bool = application.has("disconnected")
        self.received: Callable[[bytes, EngineConnection], Reply] = application.received
        self.connected: Callable[[EngineConnection], object] = application.connected
        self.closing: Callable[[EngineConnection], object] = application.closing

    def time_calls(self, times: CallTimes) -> None:
        """No call goes on after its read."""

    def begin(self, engine: EventLoop) -> None:
        """Nothing to prepare."""

    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        try:
            self._application.disconnected(connection, reason)
        finally:
            done()

    def run_call(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        connection.run_call(function)

    def create_task(self, connection: EngineConnection, work: Any, name: str | None) -> NoReturn:
        raise no_tasks(self._application.name)

    def close(self, stop: Stop) -> None:
        """Nothing to wait for: every call has returned."""


def no_tasks(name: str) -> UsageError:
    """What a plain handler is told that asks for a task."""
    return UsageError(
        f"create_task: handler {name!r} has no async function; make received async, or use "
        "connection.call_later"
    )


def unfinished(name: str, connections: Collection[Connection]) -> list[str]:
    """What a stop reports if the handler ``name`` still runs for ``connections``."""
    if not connections:
        return []
    peers = ", ".join(connection.peername for connection in islice(connections, 3))
    more = f" and {len(connections) - 3} more" if len(connections) > 3 else ""
    return [f"handler {name} for {peers}{more}"]
