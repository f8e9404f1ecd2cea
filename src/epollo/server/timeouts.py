"""What a peer may keep a server waiting: enforced by a sweep, not by a timer for each connection.

A connection is stamped with the number of the last sweep, which costs a message nothing but a
store. A sweep looks at every connection, at an eighth of the shortest of the timeouts or four
times a second, so one that is late is closed within two sweeps of its deadline, never before it.
"""

from __future__ import annotations

import math

from epollo.engine import Bounds, EventLoop
from epollo.settings import Settings

LONGEST_PERIOD = 0.25  # seconds


class TimeoutSweeper:
    """Closes the connections of ``loop`` whose peer is idle, or late, for as long as it runs."""

    def __init__(self, loop: EventLoop, settings: Settings) -> None:
        timeouts = (settings.idle_timeout, settings.frame_timeout, settings.write_timeout)
        self._loop = loop
        self._period = min([LONGEST_PERIOD, *(seconds / 8 for seconds in timeouts if seconds)])
        self._bounds = Bounds(*(math.ceil(seconds / self._period) for seconds in timeouts))
        if any(timeouts):
            self._wait()

    def _wait(self) -> None:
        self._loop.call_later(self._period, self._sweep)

    def _sweep(self) -> None:
        self._wait()
        self._loop.enforce(self._bounds)
