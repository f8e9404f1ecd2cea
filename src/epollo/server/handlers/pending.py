"""Calls of a handler that wait: a message was handed over, its reply comes later.

A connection is kept here only while it has a pending call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from epollo.engine import CloseReason, Connection, EngineConnection, Reply, Timer
from epollo.engine.replies import size_of


class PendingCall:
    """One call of a handler, for a message or for a new connection."""

    __slots__ = (
        "cancel",
        "connection",
        "ended",
        "error",
        "expired",
        "more",
        "reply",
        "running",
        "size",
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
        self.size: int = 0  # bytes of the reply that `hold` has counted
        self.more: Callable[[], object] | None = None  # makes the next part of the reply
        self.error: BaseException | None = None
        self.cancel: Callable[[], object] = _nothing

    def complete(self) -> None:
        """Give the connection the reply, or the error."""
        error, self.error = self.error, None  # its traceback may refer to this call: no cycle
        reply, self.reply = self.reply, None
        if self.more is not None:
            self.ended, more, self.more = False, self.more, None
            self.connection.answer_part(reply, more)
        elif self.expired:
            self.connection.answer(None, self.weight)
        elif error is None:
            self.connection.answer(reply, self.weight)
        else:
            self.connection.fail(error, self.weight)


class PendingCalls:
    """The pending calls of all connections. Those of one connection complete in the order of
    their messages if ``ordered``, otherwise as soon as they end."""

    def __init__(self, ordered: bool = True) -> None:
        self._ordered = ordered
        # In the order of their messages; dict keys, because removing one of many must be fast.
        self._queues: dict[EngineConnection, dict[PendingCall, None]] = {}
        self._lock = threading.Lock()
        self._held: dict[EngineConnection, int] = {}  # bytes of replies, until they are sent
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

    def resume(self, call: PendingCall, running: object) -> None:
        """The next part of its reply is being made."""
        call.running = running
        if self.on_begin is not None:
            self.on_begin(call)

    def end(
        self,
        call: PendingCall,
        reply: Reply = None,
        error: BaseException | None = None,
        more: Callable[[], object] | None = None,
    ) -> None:
        """The handler has returned ``reply`` or raised ``error``. If the order is kept, the call
        completes when all earlier ones have. With ``more`` this is a part of the reply: ``more`` is
        called when the peer has taken enough of it, and `end` again for the next part."""
        queue = self._queues.get(call.connection)
        if queue is None or call.ended:  # abandoned
            return
        call.reply, call.error, call.more, call.ended = reply, error, more, True
        call.cancel, call.running = _nothing, None
        if call.timer is not None:
            call.timer.cancel()
        if not self._ordered:
            self._complete(queue, call)
        elif call is not next(iter(queue)) and not call.size and not self.hold(call, reply):
            call.reply = None
            call.connection.abort(CloseReason.SLOW_CONSUMER)
        while queue and (first := next(iter(queue))).ended:
            self._complete(queue, first)
        if not queue and self._queues.get(call.connection) is queue:
            del self._queues[call.connection]
            self._last.pop(call.connection, _nothing)()

    def hold(self, call: PendingCall, reply: Reply) -> bool:
        """Count ``reply`` as unsent until it is sent: it is on its way to the loop, or waits for an
        earlier one. False if that would be too much. In any thread, before `end`."""
        connection, size = call.connection, size_of(reply)
        with self._lock:
            held = self._held.get(connection, 0)
            if held and connection.over_max_unsent(held):
                return False
            self._held[connection] = held + size
            call.size = size
        return True

    def _complete(self, queue: dict[PendingCall, None], call: PendingCall) -> None:
        with self._lock:
            held = self._held.get(call.connection, 0) - call.size
            call.size = 0
            if held > 0:
                self._held[call.connection] = held
            else:
                self._held.pop(call.connection, None)
        if call.more is None:
            del queue[call]
        call.complete()

    def cancel(self, connection: EngineConnection) -> None:
        """Cancel the calls of ``connection``: it is closed, so no reply can be sent."""
        for call in tuple(self._queues.get(connection, ())):
            call.reply = None
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
        self._held.clear()
        self._last.clear()
        return connections


def _nothing() -> None:
    pass
