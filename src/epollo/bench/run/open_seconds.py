"""The seconds of a run that still take replies, in memory of a fixed size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from epollo.bench.results.histogram import Histogram

Histograms: TypeAlias = tuple[Histogram, Histogram, Histogram]
"""Response, service and slip."""

COUNT = 8  # seconds, more than a message takes whose timeout is the default
_LATE = 4  # seconds


class OpenSeconds:
    """The recorders of the present second and of those before it, each of which is used again.

    A message belongs to the second in which it was due, so a second is closed only once few
    replies to its messages can come. A reply to an older message is recorded apart: ``amend`` is
    called with the number of that second, and what is to be added to it.
    """

    def __init__(
        self, new_recorders: Callable[[], Any], amend: Callable[[int, Histograms], object]
    ) -> None:
        self.number: int = 0  # of the present second
        self._new_recorders = new_recorders
        self._amend = amend
        self._ring = [new_recorders() for _ in range(COUNT)]
        self._whole = new_recorders()
        self._late: dict[int, Any] = {}

    @property
    def present(self) -> Any:
        """The recorders of the present second."""
        return self._ring[self.number % COUNT]

    def next(self) -> Histograms | None:
        """Begin a second. Returns the histograms of the second that is closed by it, if any."""
        self.number += 1
        return self._close(self.number) if self.number >= COUNT else None

    def of(self, number: int) -> Any:
        """The recorders of that second."""
        if number > self.number - COUNT:
            return self._ring[min(number, self.number) % COUNT]
        recorders = self._late.pop(number, None) or self._new_recorders()
        self._late[number] = recorders
        if len(self._late) > _LATE:
            self._end_late(next(iter(self._late)))
        return recorders

    def close(self) -> Iterator[Histograms]:
        """The histograms of all open seconds but the present one, in their order."""
        for number in range(max(0, self.number - COUNT + 1), self.number):
            yield self._close(number)
        for number in list(self._late):
            self._end_late(number)

    def totals(self) -> Histograms:
        """The histograms of all closed seconds together."""
        histograms: Histograms = self._whole.histograms()
        return histograms

    def _close(self, number: int) -> Histograms:
        recorders = self._ring[number % COUNT]
        histograms: Histograms = recorders.histograms()
        self._whole.add(recorders)
        recorders.clear()
        return histograms

    def _end_late(self, number: int) -> None:
        recorders = self._late.pop(number)
        self._whole.add(recorders)
        self._amend(number, recorders.histograms())
