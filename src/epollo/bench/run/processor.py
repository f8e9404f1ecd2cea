"""What threads used of a processor, and how long they waited for one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_native_id
from time import monotonic_ns, thread_time

# Time on a processor, and time runnable without one, in ns (Documentation/scheduler/sched-stats.rst
# of Linux).
_STATISTICS = Path("/proc/thread-self/schedstat")
_PRESSURE = Path("/proc/pressure/cpu")  # Documentation/accounting/psi.rst


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


class RunQueue:
    """How long the thread that made it has waited for a processor, asked for often."""

    def __init__(self) -> None:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(_STATISTICS, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def waited(self) -> int | None:
        """In ns, since the thread began; None if the kernel does not tell."""
        if self._file is None:
            return None
        with suppress(OSError, ValueError, IndexError):
            return int(os.pread(self._file, 100, 0).split()[1])
        return None

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


@dataclass(frozen=True, slots=True)
class _Thread:
    """Of one thread, in ns since it began."""

    used: int
    waited: int


class OtherThreads:
    """How long the threads of these processes, all but the calling one, waited for a processor,
    from when it was made."""

    def __init__(self, processes: Iterable[int]) -> None:
        self._processes = list(processes)
        self._began = monotonic_ns()
        self._before = self._threads()

    def without_core(self) -> float | None:
        """The part of the time until now in which they were ready to run and had no processor, on
        average by their work; None if that is not known, or they had no work."""
        length = monotonic_ns() - self._began
        wanted = weighted = 0.0
        for number, now in self._threads().items():
            before = self._before.get(number, _Thread(0, 0))
            waited = now.waited - before.waited
            work = now.used - before.used + waited
            wanted += work
            weighted += work * waited / length
        return min(1.0, weighted / wanted) if wanted > 0 else None

    def _threads(self) -> dict[str, _Thread]:
        found, own = {}, str(get_native_id())
        for process in self._processes:
            with suppress(OSError):  # it has ended
                for path in Path(f"/proc/{process}/task").iterdir():
                    if path.name == own:
                        continue
                    with suppress(OSError, ValueError, IndexError):
                        used, waited, *_ = map(int, (path / "schedstat").read_text().split())
                        found[path.name] = _Thread(used, waited)
        return found


class Pressure:
    """For how long some program of this machine waited for a processor, from when it was made."""

    def __init__(self) -> None:
        self._began = monotonic_ns()
        self._before = _pressure()

    def part(self) -> float | None:
        """The part of the time until now; None if the kernel does not tell."""
        now, length = _pressure(), monotonic_ns() - self._began
        if now is None or self._before is None:
            return None
        return min(1.0, max(0.0, (now - self._before) * 1000 / length))


def _waited() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        return int(_STATISTICS.read_text().split()[1]) / 1e9
    return None


def _pressure() -> int | None:
    """In µs since the machine was started."""
    with suppress(OSError, ValueError, IndexError):
        return int(_PRESSURE.read_text().split("\n", 1)[0].rpartition("total=")[2])
    return None
