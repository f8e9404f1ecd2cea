"""Messages in flight: handed to a handler that waits, and not yet answered.

A connection is remembered here only while something of it is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from epollo.engine import Connection, Reply


class Flight:
    """One call of a handler: for a message, or for a connection's beginning."""

    __slots__ = ("cancel", "connection", "error", "landed", "reply", "weight")

    def __init__(self, connection: Connection, weight: int) -> None:
        self.connection = connection
        self.weight = weight  # how many messages' places it takes
        self.landed = False
        self.reply: Reply = None
        self.error: BaseException | None = None
        self.cancel: Callable[[], object] = _nothing

    def land(self) -> None:
        """Give the connection what became of it."""
        error, self.error = self.error, None  # whose traceback may hold this flight
        if error is None:
            self.connection.answer(self.reply, self.weight)
        else:
            self.connection.fail(error, self.weight)


class Flights:
    """What is in flight, by connection, and the order in which it is answered."""

    def __init__(self, ordered: bool = True) -> None:
        self._ordered = ordered
        # In the order of their messages. As keys, so that one of many is found at once.
        self._queues: dict[Connection, dict[Flight, None]] = {}
        self._last: dict[Connection, Callable[[], object]] = {}

    def __len__(self) -> int:
        """Connections with something in flight."""
        return len(self._queues)

    def begin(self, connection: Connection, weight: int = 1) -> Flight:
        """The handler is at work for ``connection``, and its reply comes later."""
        flight = Flight(connection, weight)
        self._queues.setdefault(connection, {})[flight] = None
        connection.defer(weight)
        return flight

    def end(self, flight: Flight, reply: Reply = None, error: BaseException | None = None) -> None:
        """The handler is done. Replies are sent in the order of their messages, where that is
        wanted: one that comes before its turn is kept for it."""
        queue = self._queues.get(flight.connection)
        if queue is None or flight.landed:  # abandoned
            return
        flight.reply, flight.error, flight.landed = reply, error, True
        flight.cancel = _nothing
        if not self._ordered:
            del queue[flight]
            flight.land()
        while queue and (first := next(iter(queue))).landed:
            del queue[first]
            first.land()
        if not queue and self._queues.get(flight.connection) is queue:
            del self._queues[flight.connection]
            self._last.pop(flight.connection, _nothing)()

    def cancel(self, connection: Connection) -> None:
        """Nobody waits for the replies any more."""
        for flight in tuple(self._queues.get(connection, ())):
            flight.cancel()

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
