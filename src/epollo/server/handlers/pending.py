"""Calls of a handler that wait: a message was handed over, its reply comes later.

A connection is kept here only while it has a pending call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from epollo.engine import Connection, EngineConnection, Reply, Timer


class PendingCall:
    """One call of a handler, for a message or for a new connection."""

    __slots__ = (
        "cancel",
        "connection",
        "ended",
        "error",
        "expired",
        "reply",
        "running",
        "timer",
        "weight",
    )

    def __init__(self, connection: EngineConnection, weight: int) -> None:
        self.connection: EngineConnection = connection
        self.weight: int = weight  # places in flight that it takes
        self.ended: bool = False
        self.expired: bool = False  # it has taken too long, and its connection has failed
        self.running: object = None  # the coroutine, or the job of a thread
        self.timer: Timer | None = None
        self.reply: Reply = None
        self.error: BaseException | None = None
        self.cancel: Callable[[], object] = _nothing

    def complete(self) -> None:
        """Give the connection the reply, or the error."""
        error, self.error = self.error, None  # its traceback may refer to this call: no cycle
        if self.expired:
            self.connection.answer(None, self.weight)
        elif error is None:
            self.connection.answer(self.reply, self.weight)
        else:
            self.connection.fail(error, self.weight)


class PendingCalls:
    """The pending calls of all connections. Those of one connection complete in the order of
    their messages if ``ordered``, otherwise as soon as they end."""

    def __init__(self, ordered: bool = True) -> None:
        self._ordered = ordered
        # In the order of their messages; dict keys, because removing one of many must be fast.
        self._queues: dict[EngineConnection, dict[PendingCall, None]] = {}
        self._last: dict[Connection, Callable[[], object]] = {}
        self.on_begin: Callable[[PendingCall], object] | None = None

    def __len__(self) -> int:
        """The number of connections with a pending call."""
        return len(self._queues)

    def begin(self, connection: EngineConnection, weight: int = 1) -> PendingCall:
        """A call of the handler that replies later has begun."""
        call = PendingCall(connection, weight)
        self._queues.setdefault(connection, {})[call] = None
        connection.defer(weight)
        if self.on_begin is not None:
            self.on_begin(call)
        return call

    def end(
        self, call: PendingCall, reply: Reply = None, error: BaseException | None = None
    ) -> None:
        """The handler has returned ``reply`` or raised ``error``. If the order is kept, the call
        completes when all earlier ones have."""
        queue = self._queues.get(call.connection)
        if queue is None or call.ended:  # abandoned
            return
        call.reply, call.error, call.ended = reply, error, True
        call.cancel, call.running = _nothing, None
        if call.timer is not None:
            call.timer.cancel()
        if not self._ordered:
            del queue[call]
            call.complete()
        while queue and (first := next(iter(queue))).ended:
            del queue[first]
            first.complete()
        if not queue and self._queues.get(call.connection) is queue:
            del self._queues[call.connection]
            self._last.pop(call.connection, _nothing)()

    def cancel(self, connection: EngineConnection) -> None:
        """Cancel the calls of ``connection``: it is closed, so no reply can be sent."""
        for call in tuple(self._queues.get(connection, ())):
            call.cancel()

    def after(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Call ``function`` when ``connection`` has no pending call any more."""
        if connection in self._queues:
            self._last[connection] = function
        else:
            function()

    def abandon(self) -> Iterable[Connection]:
        """Forget all pending calls; returns their connections."""
        connections = tuple(self._queues)
        self._queues.clear()
        self._last.clear()
        return connections


def _nothing() -> None:
    pass
