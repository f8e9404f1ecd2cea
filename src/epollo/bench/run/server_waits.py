"""The part of the messages' time in which the server was ready to run and had no processor."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_native_id
from time import monotonic_ns

_MOST_THREADS = 32  # to read more costs the tester too much
_RENEWED = 50  # moments after which the threads are listed again
_KEPT = 50  # intervals; a longer wait for a processor is counted in part


@dataclass(slots=True)
class _Interval:
    """Between two moments. Times are in ns.

    Attributes:
        length: of the interval.
        message_time: messages outstanding, multiplied by the time for which they were.
        waited: in which the server had no processor.
    """

    length: int
    message_time: int
    waited: float = 0.0

    @property
    def starved(self) -> float:
        """The message time without a processor. The server waits for one only while it has a
        message, so the wait is a part of the time in which there was one."""
        occupied = min(self.length, self.message_time)
        return self.message_time * min(1.0, self.waited / occupied) if occupied else 0.0


class ServerWaits:
    """Reads at some moments of a run how long the threads of the server have waited for a
    processor: of all time that is little if few messages come, and of their time it may be most.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        self._processes = list(processes)
        self._threads: dict[str, _Thread] = {}
        self._too_many = False
        self._moments = 0
        self._at = self._message_time = 0  # at the last moment
        self._intervals: deque[_Interval] = deque()
        self._starved = self._all = 0.0  # message time of intervals that are no longer kept

    def begin(self, message_time: int) -> None:
        """The first moment. ``message_time`` is in message-ns, since any moment before."""
        self._renew()
        self._waited()  # before this moment, which does not count
        self._at, self._message_time = monotonic_ns(), message_time

    def note(self, message_time: int) -> None:
        """Another moment."""
        self._moments += 1
        if not self._moments % _RENEWED:
            self._renew()
        now = monotonic_ns()
        self._intervals.append(_Interval(now - self._at, message_time - self._message_time))
        self._at, self._message_time = now, message_time
        self._spread(self._waited())
        if len(self._intervals) > _KEPT:
            self._count(self._intervals.popleft())

    def part(self) -> float | None:
        """The part of the message time so far; None if it is not known. Closes the files."""
        known = bool(self._threads) and not self._too_many
        while self._intervals:
            self._count(self._intervals.popleft())
        for thread in self._threads.values():
            thread.close()
        self._threads.clear()
        return self._starved / self._all if known and self._all else None

    def _spread(self, waited: float) -> None:
        """The kernel tells a wait when it is over, so a long one began some intervals before."""
        for interval in reversed(self._intervals):
            if waited <= 0:
                break
            taken = min(waited, interval.length - interval.waited)
            interval.waited += taken
            waited -= taken

    def _count(self, interval: _Interval) -> None:
        self._starved += interval.starved
        self._all += interval.message_time

    def _waited(self) -> float:
        """Since the last moment, in ns: on average of the threads, by their work."""
        weighted = wanted = 0.0
        for name, thread in list(self._threads.items()):
            try:
                used, waited = thread.read()
            except (OSError, ValueError, IndexError):  # it has ended
                self._threads.pop(name).close()
                continue
            wanted += used + waited
            weighted += (used + waited) * waited
        return weighted / wanted if wanted else 0.0

    def _renew(self) -> None:
        """List the threads again: some may have begun."""
        own = str(get_native_id())
        for process in self._processes:
            with suppress(OSError):  # it has ended
                for path in Path(f"/proc/{process}/task").iterdir():
                    if path.name != own and path.name not in self._threads:
                        self._add(path)

    def _add(self, task: Path) -> None:
        if len(self._threads) == _MOST_THREADS:
            self._too_many = True
            return
        with suppress(OSError):
            self._threads[task.name] = _Thread(task / "schedstat")


class _Thread:
    """The statistics of one thread, kept open."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._before: tuple[int, int] | None = None

    def read(self) -> tuple[int, int]:
        """For how many ns it ran, and waited for a processor, since it was last asked for; 0 at
        first. Raises OSError, ValueError and IndexError if it has ended."""
        numbers = os.pread(self._file, 100, 0).split()
        now = int(numbers[0]), int(numbers[1])
        before, self._before = self._before or now, now
        return now[0] - before[0], now[1] - before[1]

    def close(self) -> None:
        os.close(self._file)
