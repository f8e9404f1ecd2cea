"""What the tester's thread used of a processor, and how long it waited for one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import thread_time

# Time on a processor, and time runnable without one, in ns (Documentation/scheduler/sched-stats.rst
# of Linux).
_STATISTICS = Path("/proc/thread-self/schedstat")


class ProcessorTime:
    """Of the calling thread, from `start` to `stop`, in seconds.

    Attributes:
        used: on a processor.
        waited: ready to run, but without a processor; None if the kernel does not tell.
    """

    def __init__(self) -> None:
        self.used: float = 0.0
        self.waited: float | None = None
        self._began: tuple[float, float | None] | None = None

    def start(self) -> None:
        self._began = thread_time(), _waited()

    def stop(self) -> None:
        """Nothing, unless it was started."""
        if self._began is None:
            return
        used, before = self._began
        self.used, after = thread_time() - used, _waited()
        if before is not None and after is not None:
            self.waited = after - before


def _waited() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        return int(_STATISTICS.read_text().split()[1]) / 1e9
    return None
