"""Messages in flight: handed to a handler that waits, and not yet answered.

A connection is remembered here only while something of it is in flight.
"""

from __future__ import annotations

from collections import deque
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
        self.error: Exception | None = None
        self.cancel: Callable[[], object] = _nothing

    def land(self) -> None:
        """Give the connection what became of it."""
        for _ in range(self.weight - 1):
            self.connection.answer(None)
        error, self.error = self.error, None  # whose traceback may hold this flight
        if error is None:
            self.connection.answer(self.reply)
        else:
            self.connection.fail(error)


class Flights:
    """What is in flight, by connection, and the order in which it is answered."""

    def __init__(self, ordered: bool = True) -> None:
        self._ordered = ordered
        self._queues: dict[Connection, deque[Flight]] = {}
        self._last: dict[Connection, Callable[[], object]] = {}

    def __len__(self) -> int:
        """Connections with something in flight."""
        return len(self._queues)

    def begin(self, connection: Connection, weight: int = 1) -> Flight:
        """The handler is at work for ``connection``, and its reply comes later."""
        flight = Flight(connection, weight)
        self._queues.setdefault(connection, deque()).append(flight)
        for _ in range(weight):
            connection.defer()
        return flight

    def end(self, flight: Flight, reply: Reply = None, error: Exception | None = None) -> None:
        """The handler is done. Replies are sent in the order of their messages, where that is
        wanted: one that comes before its turn is kept for it."""
        flight.reply, flight.error, flight.landed = reply, error, True
        flight.cancel = _nothing
        queue = self._queues[flight.connection]
        if not self._ordered:
            queue.remove(flight)
            flight.land()
        while queue and queue[0].landed:
            queue.popleft().land()
        if not queue:
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

    def abandon(self) -> Iterable[Callable[[], object]]:
        """Forget all that is in flight; the last calls that were still to be made."""
        self._queues.clear()
        calls, self._last = tuple(self._last.values()), {}
        return calls


def as_exception(error: BaseException) -> Exception:
    """What a handler raised, as something to close its connection with."""
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"the handler ended with {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


def _nothing() -> None:
    pass
