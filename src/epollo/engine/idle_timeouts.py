"""Idle timeouts that connections have of their own, in place of the setting.

Each connection is looked at when its timeout can have passed, not at each sweep: of 100,000
connections, each with a timeout of its own, few have to be looked at at a time.
"""

from __future__ import annotations

import math
from typing import Any

TICK_SECONDS = 0.25  # if nothing but these timeouts needs a sweep
_TICKS = 0xFFFFFFFF  # as the native engine counts them


class IdleTimeouts:
    """Those of the connections of one loop. In the loop's thread."""

    __slots__ = ("_due", "_when", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[Any, float] = {}  # by connection; 0 is no timeout
        self._when: dict[Any, int] = {}  # the tick at which each is looked at
        self._due: dict[int, set[Any]] = {}  # the same, by tick

    def set(self, connection: Any, seconds: float) -> None:
        """Give ``connection`` a timeout of its own, from its last byte on."""
        self.seconds[connection] = seconds
        self._look_later(connection)

    def forget(self, connection: Any) -> None:
        """It has the timeout of all others, or has ended."""
        if self.seconds.pop(connection, None) is not None:
            self._look_never(connection)

    def ticks(self, connection: Any, of_others: int) -> int:
        """The timeout of ``connection``, which may be that ``of_others``. 0 is no timeout."""
        seconds = self.seconds.get(connection)
        return of_others if seconds is None else math.ceil(seconds / connection.loop.tick_seconds)

    def due(self, tick: int) -> list[Any]:
        """The connections whose timeout has passed at ``tick``, unless their deadline was
        postponed by what a look at them tells."""
        found = list(self._due.pop(tick & _TICKS, ()))
        for connection in found:
            del self._when[connection]
            self._look_later(connection)
        return [each for each in found if each.idle_ticks > self.ticks(each, _TICKS)]

    def clear(self) -> None:
        self.seconds.clear()
        self._when.clear()
        self._due.clear()

    def _look_later(self, connection: Any) -> None:
        """When its timeout can have passed, or the next time."""
        ticks, now = self.ticks(connection, 0), connection.loop.tick
        self._look_never(connection)
        if ticks:
            when = now + max(1, ticks + 1 - connection.idle_ticks) & _TICKS
            self._when[connection] = when
            self._due.setdefault(when, set()).add(connection)

    def _look_never(self, connection: Any) -> None:
        when = self._when.pop(connection, None)
        if when is not None:
            self._due[when].remove(connection)
            if not self._due[when]:
                del self._due[when]
