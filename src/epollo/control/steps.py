"""Work in steps, of which a turn of a loop makes only a few: it serves messages in between."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from epollo.engine import EventLoop

SECONDS = 50e-6
"""After which a turn leaves the other steps to the next one."""


class StepQueue:
    """Makes the steps of all that is added on ``loop``, so much work makes no turn longer. Works
    take turns: a long one does not hold up a short one. In the loop's thread."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._works: deque[Iterator[None]] = deque()  # the next one's turn first
        self._busy = False  # a turn is under way, or will be called

    def add(self, work: Iterator[None]) -> None:
        """Begin with ``work`` now, unless there is other work. It is an iterator that makes a step
        each time; a step that takes longer than `SECONDS` makes its turn as much longer."""
        self._works.append(work)
        if not self._busy:
            self._take_turn()

    def finish(self) -> None:
        """Make all steps that are left now: the loop is closed, and takes no more turns."""
        while self._works:
            try:
                deque(self._works.popleft(), maxlen=0)
            except Exception as error:
                self._loop.report(error, "a callback of the loop raised")

    def _take_turn(self) -> None:
        self._busy = True
        try:
            self._make_some()
        finally:
            self._busy = bool(self._works)
            if self._busy:
                self._loop.call_threadsafe(self._take_turn)

    def _make_some(self) -> None:
        """Make steps of the first work, and of the next ones if it ends, until the time is over."""
        end = time.monotonic() + SECONDS
        while self._works:
            work = self._works.popleft()
            for _ in work:
                if time.monotonic() >= end:
                    self._works.append(work)
                    return
            if time.monotonic() >= end:
                return
