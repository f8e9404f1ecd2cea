"""Calls at a later time, on the monotonic clock; shared by the engines.

A cancelled timer stays in the heap until it is the next one: to find it there takes as long as to
look at all. But timers with long timeouts, such as a handshake's, would pile up. So when more than
half of the timers are cancelled they are all taken out, as asyncio does.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Callable

_FEW = 64  # cancelled timers, which are not worth a search
_LONGEST_WAIT = 86400.0  # a poller counts milliseconds in an int, which ends at 24 days


class Timer:
    """One call to come. Made by ``call_later``."""

    __slots__ = ("_callback", "timers", "when")

    def __init__(self, when: float, callback: Callable[[], object], timers: Timers) -> None:
        self.when: float = when  # time.monotonic()
        self.timers: Timers | None = timers  # while it is among them
        self._callback: Callable[[], object] | None = callback

    @property
    def cancelled(self) -> bool:
        """Will it make no call, or none any more: was it cancelled, or is it done?"""
        return self._callback is None

    def cancel(self) -> None:
        """Do not make the call. Lets go of the callback at once, not when its time comes."""
        if self._callback is not None:
            self._callback = None
            if self.timers is not None:
                self.timers.count_cancelled()

    def fire(self) -> None:
        """Make the call, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """A heap of timers, the next one first; those of the same time in the order they were made.

    An entry begins with the time of its timer, which the native loop reads twice a turn: to read an
    attribute would take ten times as many instructions.
    """

    __slots__ = ("_cancelled", "_numbers", "heap", "now")

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self.now: Callable[[], float] = time.monotonic if now is None else now
        self.heap: list[tuple[float, int, Timer]] = []  # the same list for life
        self._numbers = itertools.count()
        self._cancelled = 0  # of the timers in the heap

    def add(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(float(self.now() + seconds), callback, self)
        heapq.heappush(self.heap, (timer.when, next(self._numbers), timer))
        return timer

    def count_cancelled(self) -> None:
        """One more of them is cancelled: take those out when they are too many."""
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self.heap) // 2):
            self.heap[:] = [entry for entry in self.heap if not entry[2].cancelled]
            heapq.heapify(self.heap)
            self._cancelled = 0

    @property
    def next(self) -> float | None:
        """When the next one is due, of time.monotonic()."""
        while self.heap and self.heap[0][2].cancelled:
            self._pop()
        return self.heap[0][0] if self.heap else None

    def wait(self, timeout: float | None) -> float | None:
        """``timeout``, or the seconds until the next timer if they are fewer."""
        when = self.next
        if when is None:
            return timeout
        seconds = min(_LONGEST_WAIT, max(0.0, when - self.now()))
        return seconds if timeout is None else min(seconds, timeout)

    def due(self, most: int = sys.maxsize) -> list[Timer]:
        """The timers whose time has come, removed, in order: the first ``most`` of them.

        Those that the callbacks add are for the next turn, so a timer that renews itself at
        once cannot keep the loop from its sockets.
        """
        now = self.now()
        due: list[Timer] = []
        while self.heap and self.heap[0][0] <= now and len(due) < most:
            due.append(self._pop())
        return due

    def clear(self) -> None:
        while self.heap:
            self._pop()

    def _pop(self) -> Timer:
        timer = heapq.heappop(self.heap)[2]
        timer.timers = None
        self._cancelled -= timer.cancelled
        return timer

    def __len__(self) -> int:
        return len(self.heap)
