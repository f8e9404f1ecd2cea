"""A clock of deadlines that a test moves on, so that no machine is too slow for a peer to be in
time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from epollo.engine import EventLoop
from epollo.server.timeouts import TimeoutSweeper
from tests.support import DEADLINE


class Clock:
    """Stands in for the timer of `TimeoutSweeper`: its sweeps come when `tick` is called."""

    def __init__(self) -> None:
        self._sweeps: dict[EventLoop, Callable[[], None]] = {}

    def keep(self, sweeper: TimeoutSweeper) -> None:
        """What the timer would have been set for."""
        self._sweeps[sweeper._loop] = sweeper._sweep

    def stop(self) -> None:
        """Let go of all servers."""
        self._sweeps.clear()

    def tick(self) -> None:
        """An eighth of the shortest timeout goes by."""
        for loop, sweep in self._sweeps.items():
            loop.call_threadsafe(sweep)
            done = threading.Event()
            loop.call_threadsafe(done.set)
            assert done.wait(DEADLINE)
