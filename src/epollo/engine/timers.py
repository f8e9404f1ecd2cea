"""Calls at a later time, on the monotonic clock; shared by the engines."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

_LONGEST_WAIT = 86400.0  # a poller counts milliseconds in an int, which ends at 24 days


class Timer:
    """One call to come. Made by ``call_later``."""

    __slots__ = ("_callback", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when  # time.monotonic()
        self._callback: Callable[[], object] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        """Do not make the call. Lets go of the callback at once, not when its time comes."""
        self._callback = None

    def fire(self) -> None:
        """Make the call, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """A heap of timers, the next one first."""

    __slots__ = ("heap",)

    def __init__(self) -> None:
        self.heap: list[Timer] = []  # the next one first; the same list for life

    def add(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self.heap, timer)
        return timer

    @property
    def next(self) -> float | None:
        """When the next one is due, of time.monotonic()."""
        while self.heap and self.heap[0].cancelled:
            heapq.heappop(self.heap)
        return self.heap[0].when if self.heap else None

    def wait(self, timeout: float | None) -> float | None:
        """``timeout``, or the seconds until the next timer where those are fewer."""
        when = self.next
        if when is None:
            return timeout
        seconds = min(_LONGEST_WAIT, max(0.0, when - time.monotonic()))
        return seconds if timeout is None else min(seconds, timeout)

    def due(self) -> list[Timer]:
        """The timers whose time has come, removed, in order.

        Those that the callbacks add are for the next turn, so a timer that renews itself at
        once cannot keep the loop from its sockets.
        """
        now = time.monotonic()
        due = []
        while self.heap and self.heap[0].when <= now:
            due.append(heapq.heappop(self.heap))
        return due

    def clear(self) -> None:
        self.heap.clear()

    def __len__(self) -> int:
        return len(self.heap)
