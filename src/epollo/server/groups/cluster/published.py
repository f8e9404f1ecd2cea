"""Numbers for what this process publishes, and when the last one of a group is told again.

The numbers of a group are a stream. If the last message of a stream is lost, no later one shows it,
so its number is told after `FIRST_SECONDS` of silence, then after twice that, and so on. When it
was told for the last time the stream is forgotten, and a later message begins another stream. After
a connection was lost, which may have taken messages with it, this begins anew for all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

FIRST_SECONDS = 1.0
LAST_SECONDS = 64.0  # the longest pause before it is told for the last time


class _Stream:
    __slots__ = ("active", "id", "number", "pause")

    def __init__(self, count: int) -> None:
        self.id = count
        self.number = 0
        self.active = True  # was something published since the last look?
        self.pause = FIRST_SECONDS


class Published:
    """The streams of one process. Not thread-safe: `Outbox` calls it under its lock."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._count = 0
        self._due: list[tuple[float, int, str]] = []  # a heap: when, the stream's id, the group

    def next(self, group: str, now: float) -> tuple[int, int]:
        """The stream of ``group`` and the number of its next message."""
        stream = self._streams.get(group)
        if stream is None:
            self._count += 1
            stream = self._streams[group] = _Stream(self._count)
            heapq.heappush(self._due, (now + FIRST_SECONDS, stream.id, group))
        stream.number += 1
        stream.active = True
        return stream.id, stream.number

    def last(self, group: str) -> tuple[int, int] | None:
        """The stream of ``group`` and the number of its last message, if there is one."""
        stream = self._streams.get(group)
        return None if stream is None else (stream.id, stream.number)

    def tell_all(self, now: float) -> None:
        """The last numbers of all are due now, and then as after a message."""
        for stream in self._streams.values():
            stream.active, stream.pause = False, FIRST_SECONDS
        self._due = [(now, stream.id, group) for group, stream in self._streams.items()]
        heapq.heapify(self._due)

    def due(self, now: float, most: int) -> Iterator[str]:
        """Up to ``most`` groups whose last number is to be told now."""
        for _ in range(most):
            if not self._due or self._due[0][0] > now:
                return
            group = heapq.heappop(self._due)[2]
            if self._is_due(group, now):
                yield group

    def _is_due(self, group: str, now: float) -> bool:
        """Is it to be told? If so, or if not yet, look again later."""
        stream = self._streams[group]
        quiet = not stream.active
        if stream.active:
            stream.active, stream.pause = False, FIRST_SECONDS
        elif stream.pause > 2 * LAST_SECONDS:
            del self._streams[group]
            return False
        heapq.heappush(self._due, (now + stream.pause, stream.id, group))
        if quiet:
            stream.pause *= 2
        return quiet
