"""Idle, frame and write timeouts: enforced by a sweep, not by a timer for each connection.

A connection stores the number of the last sweep when something happens on it, so a message costs
one store. A sweep checks every connection. Its period is an eighth of the shortest timeout, at
most a quarter of a second. A connection is closed within two sweeps after its deadline, never
before it. A sweep of many connections by the Python engine takes many turns of the loop, and may
take longer than the period: there it is closed within four such sweeps, and never before, either.

The native engine counts sweeps in 32 bits, so a difference of two counts is correct up to half of
that. The period is never so short that a timeout takes more sweeps.
"""

from __future__ import annotations

import math

from epollo.engine import Bounds, EventLoop
from epollo.settings import Settings

LONGEST_PERIOD = 0.25  # seconds
SHORTEST_PERIOD = 0.001
MOST_SWEEPS = 1 << 31  # of one timeout


class TimeoutSweeper:
    """Closes connections of ``loop`` that exceed a timeout, as long as the loop runs."""

    def __init__(self, loop: EventLoop, settings: Settings) -> None:
        timeouts = (settings.idle_timeout, settings.frame_timeout, settings.write_timeout)
        self._loop = loop
        self._runs = False
        period = min([LONGEST_PERIOD, *(seconds / 8 for seconds in timeouts if seconds)])
        self.period: float = max(period, SHORTEST_PERIOD, max(timeouts) / (MOST_SWEEPS - 1))
        self._bounds = Bounds(*(math.ceil(seconds / self.period) for seconds in timeouts))
        loop.tick_seconds = self.period
        loop.on_ticks_needed = self.start
        if any(timeouts):
            self.start()

    def start(self) -> None:
        """Sweep from now on, timeouts or not: ticks tell for how long a connection was silent."""
        if not self._runs:
            self._runs = True
            self._wait()

    def _wait(self) -> None:
        self._loop.call_later(self.period, self._sweep)

    def _sweep(self) -> None:
        self._wait()
        self._loop.enforce(self._bounds)
