"""Calls of a handler that wait: a message was handed over, its reply comes later.

A connection is kept here only while it has a pending call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from epollo.engine import CloseReason, Connection, EngineConnection, Reply, Timer
from epollo.engine.replies import size_of
from epollo.server.figures import CallTimes


class _Queue:
    """The pending calls of one connection."""

    __slots__ = ("calls", "expired", "held")

    def __init__(self) -> None:
        # In the order of their messages; dict keys, because removing one of many must be fast.
        self.calls: dict[PendingCall, None] = {}
        self.held: int = 0  # bytes of replies, until they are sent
        self.expired: bool = False  # one of them has


class PendingCall:
    """One call of a handler, for a message or for a new connection."""

    __slots__ = (
        "cancel",
        "connection",
        "ended",
        "error",
        "expired",
        "more",
        "queue",
        "reply",
        "running",
        "since",
        "size",
        "timer",
        "weight",
    )

    def __init__(self, connection: EngineConnection, queue: _Queue, weight: int) -> None:
        self.connection: EngineConnection = connection
        self.queue: _Queue = queue
        self.weight: int = weight  # places in flight that it takes
        self.ended: bool = False
        self.expired: bool = False  # it has taken too long, and its connection has failed
        self.running: object = None  # the coroutine, or the job of a thread
        self.since: float = 0.0  # when it began, if it is timed
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
        self._queues: dict[EngineConnection, _Queue] = {}
        self._lock = threading.Lock()
        self._last: dict[Connection, deque[Callable[[], object]]] = {}
        self.on_begin: Callable[[PendingCall], object] | None = None
        self.times: CallTimes | None = None

    def __len__(self) -> int:
        """The number of connections with a pending call."""
        return len(self._queues)

    def begin(self, connection: EngineConnection, weight: int = 1) -> PendingCall:
        """A call of the handler that replies later has begun."""
        queue = self._queues.get(connection)
        if queue is None:
            queue = self._queues[connection] = _Queue()
        call = PendingCall(connection, queue, weight)
        queue.calls[call] = None
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
        queue = call.queue
        if call.ended or self._queues.get(call.connection) is not queue:  # abandoned
            return
        waits = self._ordered and call is not next(iter(queue.calls))
        size = size_of(reply) if waits and not call.size else 0
        with self._lock:  # of `hold`, in another thread, which counts before this or not at all
            call.ended = True
            taken = not size or self._count(call, size)
        if self.times is not None and call.since and more is None:
            self.times.end(call.since)
        call.reply, call.error, call.more = reply, error, more
        call.cancel, call.running = _nothing, None
        if call.timer is not None:
            call.timer.cancel()
        if not self._ordered:
            self._complete(call)
        elif not taken:
            call.reply = None
            call.connection.abort(CloseReason.SLOW_CONSUMER)
        while queue.calls and (first := next(iter(queue.calls))).ended:
            self._complete(first)
        if not queue.calls and self._queues.get(call.connection) is queue:
            del self._queues[call.connection]
            self._call_last(call.connection)

    def expire(self, call: PendingCall) -> bool:
        """It has taken too long. Is it the first of its connection?"""
        first = not call.queue.expired
        call.expired = call.queue.expired = True
        return first

    def hold(self, call: PendingCall, reply: Reply) -> bool:
        """Count ``reply`` as unsent until it is sent: it is on its way to the loop. False if that
        would be too much. In any thread, before `end`; a call that was given up counts nothing."""
        size = size_of(reply)
        with self._lock:
            return call.ended or self._count(call, size)

    def _count(self, call: PendingCall, size: int) -> bool:
        """While the lock is held."""
        held = call.queue.held
        if held and call.connection.over_max_unsent(held):
            return False
        call.queue.held, call.size = held + size, size
        return True

    def _complete(self, call: PendingCall) -> None:
        with self._lock:
            call.queue.held -= call.size
            call.size = 0
        if call.more is None:
            del call.queue.calls[call]
        call.complete()

    def cancel(self, connection: EngineConnection) -> None:
        """Cancel the calls of ``connection``: it is closed, so no reply can be sent."""
        queue = self._queues.get(connection)
        for call in () if queue is None else tuple(queue.calls):
            call.reply = None
            call.cancel()

    def after(self, connection: EngineConnection, function: Callable[[], object]) -> None:
        """Call ``function`` when ``connection`` has no pending call, behind those asked for
        before, which may begin calls again."""
        self._last.setdefault(connection, deque()).append(function)
        if connection not in self._queues and len(self._last[connection]) == 1:
            self._call_last(connection)

    def _call_last(self, connection: Connection) -> None:
        while connection in self._last and connection not in self._queues:
            functions = self._last[connection]
            function = functions.popleft()
            if not functions:
                del self._last[connection]
            function()

    def abandon(self) -> Iterable[Connection]:
        """Forget all pending calls; returns their connections."""
        connections = tuple(self._queues)
        self._queues.clear()
        self._last.clear()
        return connections


def _nothing() -> None:
    pass
