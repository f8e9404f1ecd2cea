"""The setting ``handler_timeout``: how long a call of a handler may hold its connection.

A coroutine is cancelled. A function in a thread cannot be ended: its call is dropped if no thread
has begun it, and otherwise holds that thread for as long as it takes. In each case the connection
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from epollo.engine import Connection, EventLoop
from epollo.errors import HandlerTimeout
from epollo.logs.logger import logger
from epollo.server.handlers.pending import PendingCall, PendingCalls

CANCEL_SECONDS = 0.4  # for a cancelled coroutine to end

_log = logger("epollo.server")

PlaceOf = Callable[[object], str]
"""A phrase that says where the coroutine, or the job, of a pending call is."""


class CallTimeouts:
    """Ends the pending calls of the handler ``name`` that take longer than ``seconds``."""

    def __init__(self, name: str, seconds: float, calls: PendingCalls, place_of: PlaceOf) -> None:
        self._name = name
        self._seconds = seconds
        self._pending_calls = calls
        self._place_of = place_of

    def begin(self, engine: EventLoop) -> None:
        """Serving begins: from now on, calls have a timeout if there is one."""
        self._engine = engine
        if self._seconds:
            self._pending_calls.on_begin = self._watch

    def watch_disconnect(
        self, running: object, connection: Connection, end: Callable[[], bool]
    ) -> None:
        """``disconnected`` is running; ``end`` gives it up, and tells if it had not ended."""
        if self._seconds:
            expire = partial(self._expire_disconnect, running, connection, end)
            self._engine.call_later(self._seconds, expire)

    def _watch(self, call: PendingCall) -> None:
        call.timer = self._engine.call_later(self._seconds, partial(self._expire, call))

    def _expire(self, call: PendingCall) -> None:
        if call.ended:
            return
        place = self._place_of(call.running)
        first = self._pending_calls.expire(call)
        if first and not call.connection.closed:
            call.connection.fail(HandlerTimeout(self._text("", place)), 0)
        call.cancel()
        if not call.ended:
            self._engine.call_later(CANCEL_SECONDS, partial(self._leave, call))

    def _leave(self, call: PendingCall) -> None:
        """It did not end when it was cancelled, or could not be."""
        if not call.ended:
            self._warn_left(call.connection, self._place_of(call.running))
            self._pending_calls.end(call)

    def _expire_disconnect(
        self, running: object, connection: Connection, end: Callable[[], bool]
    ) -> None:
        place = self._place_of(running)
        if end():
            text = self._text("disconnected of ", place)
            extra = self._fields(connection)
            _log.error("%s, for %s", text, connection.peername, extra=extra)

    def _text(self, what: str, place: str) -> str:
        limit = f"{self._seconds:g} s, its handler_timeout"
        return f"{what}handler {self._name} did not return within {limit}{_appended(place)}"

    def _warn_left(self, connection: Connection, place: str) -> None:
        _log.error(
            "handler %s goes on for %s, which is closed, since it cannot be cancelled%s",
            self._name,
            connection.peername,
            _appended(place),
            extra=self._fields(connection),
        )

    def _fields(self, connection: Connection) -> dict[str, object]:
        peer = connection.peername
        return {"handler": self._name, "connection": connection.id, "peer": peer}


def _appended(place: str) -> str:
    return f", {place}" if place else ""
