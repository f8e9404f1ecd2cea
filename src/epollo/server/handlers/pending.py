"""Messages in flight: handed to a handler that waits, and not yet answered.

A connection is remembered here only while something of it is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from epollo.engine import Connection, Reply


class PendingCall:
    """One call of a handler: for a message, or for a connection's beginning."""

    __slots__ = ("cancel", "connection", "ended", "error", "reply", "weight")

    def __init__(self, connection: Connection, weight: int) -> None:
        self.connection = connection
        self.weight = weight  # how many messages' places it takes
        self.ended = False
        self.reply: Reply = None
        self.error: BaseException | None = None
        self.cancel: Callable[[], object] = _nothing

    def complete(self) -> None:
        """Give the connection what became of it."""
        error, self.error = self.error, None  # whose traceback may hold this call
        if error is None:
            self.connection.answer(self.reply, self.weight)
        else:
            self.connection.fail(error, self.weight)


class PendingCalls:
    """What is in flight, by connection, and the order in which it is answered."""

    def __init__(self, ordered: bool = True) -> None:
        self._ordered = ordered
        # In the order of their messages. As keys, so that one of many is found at once.
        self._queues: dict[Connection, dict[PendingCall, None]] = {}
        self._last: dict[Connection, Callable[[], object]] = {}

    def __len__(self) -> int:
        """Connections with something in flight."""
        return len(self._queues)

    def begin(self, connection: Connection, weight: int = 1) -> PendingCall:
        """The handler is at work for ``connection``, and its reply comes later."""
        call = PendingCall(connection, weight)
        self._queues.setdefault(connection, {})[call] = None
        connection.defer(weight)
        return call

    def end(
        self, call: PendingCall, reply: Reply = None, error: BaseException | None = None
    ) -> None:
        """The handler is done. Replies are sent in the order of their messages, where that is
        wanted: one that comes before its turn is kept for it."""
        queue = self._queues.get(call.connection)
        if queue is None or call.ended:  # abandoned
            return
        call.reply, call.error, call.ended = reply, error, True
        call.cancel = _nothing
        if not self._ordered:
            del queue[call]
            call.complete()
        while queue and (first := next(iter(queue))).ended:
            del queue[first]
            first.complete()
        if not queue and self._queues.get(call.connection) is queue:
            del self._queues[call.connection]
            self._last.pop(call.connection, _nothing)()

    def cancel(self, connection: Connection) -> None:
        """Nobody waits for the replies any more."""
        for call in tuple(self._queues.get(connection, ())):
            call.cancel()

    def after(self, connection: Connection, call: Callable[[], object]) -> None:
        """Make the last ``call`` for ``connection``, when nothing of it is in flight."""
        if connection in self._queues:
            self._last[connection] = call
        else:
            call()

    def abandon(self) -> Iterable[Connection]:
        """Forget all that is in flight; the connections of which something was."""
        connections = tuple(self._queues)
        self._queues.clear()
        self._last.clear()
        return connections


def _nothing() -> None:
    pass
