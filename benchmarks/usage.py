"""CPU time of processes, for how long they waited for a core, and page faults: proc(5)."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of some processes, and the seconds for which they were ready to run and had no
    core."""

    ran: float
    waited: float

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.ran - other.ran, self.waited - other.waited)


def usage(pids: Collection[int]) -> Usage:
    """Return what the processes have used until now, all threads together."""
    each = [thread for pid in pids for thread in threads(pid).values()]
    return Usage(sum(one.ran for one in each), sum(one.waited for one in each))


def threads(pid: int) -> dict[str, Usage]:
    """Return what each thread of a process has used until now."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            ran, waited, _ = map(int, file.read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended
            continue
        found[file.parent.name] = Usage(ran / 1e9, waited / 1e9)
    return found


def minor_faults(pid: int) -> int:
    """Return how many pages the kernel has given a process without a read from disk."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7])  # min_flt


class Stopwatch:
    """What a process on one core has used since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._threads = threads(pid)
        self._start = time.monotonic()

    def stop(self) -> tuple[float, float]:
        """Return the cores that it used, and the part of the time for which it waited for a core.

        A thread that waits while another thread of the process has the core does not count: of
        all threads the one that waited most does, for no longer than the process had no core.
        """
        seconds = time.monotonic() - self._start
        none = Usage(0, 0)
        used = [now - self._threads.get(name, none) for name, now in threads(self._pid).items()]
        ran = sum(each.ran for each in used)
        waited = max((each.waited for each in used), default=0.0)
        return ran / seconds, min(waited, max(0.0, seconds - ran)) / seconds
