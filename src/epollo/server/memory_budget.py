"""The setting ``max_memory``: a budget over what all connections of a server hold.

A connection holds unsent output, the part of a frame that has come, and messages held back. Nothing
is counted per message. The loop adds up what connections are given to hold, which happens when a
peer is slow or a read ends inside a frame, and tells when the sum reaches a limit. Only then all
connections are measured. The limit is what was left of the budget, so the budget is not exceeded
unnoticed, but at least a sixteenth of it: connections are not measured all the time near it. So
they hold at most a sixteenth more than the budget, and what one read or one message adds.
"""

from __future__ import annotations

from collections.abc import Callable

from epollo.engine import CloseReason, EventLoop

_STEPS = 16  # of the budget


class MemoryBudget:
    """Closes the connections of a loop that hold the most, when all together hold over ``most``
    bytes. ``warn`` is given the text of a line for the log, and its arguments; ``name`` is what the
    line calls the budget."""

    def __init__(self, most: int, warn: Callable[..., object], name: str = "max_memory") -> None:
        self._most = most
        self._name = name
        self._warn = warn

    def begin(self, loop: EventLoop) -> None:
        """``loop`` is about to serve."""
        self._loop = loop
        loop.limit_growth(self._most, self.enforce)

    def enforce(self) -> None:
        """Measure all connections, and close the largest holders until the rest fits."""
        holders = [(connection.buffered, connection) for connection in self._loop.connections()]
        total = sum(held for held, _ in holders)
        if total > self._most:
            holders.sort(key=lambda holder: holder[0])
        while total > self._most:
            held, connection = holders.pop()
            self._warn(
                "%s is %d bytes, and connections held %d; closed %s, which held %d",
                self._name,
                self._most,
                total,
                connection.peername,
                held,
            )
            total -= held
            connection.abort(CloseReason.MEMORY)
        self._loop.limit_growth(max(self._most - total, self._most // _STEPS), self.enforce)
