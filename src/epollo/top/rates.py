"""What a server has done between two looks at its figures."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from epollo.control.totals import difference, total

LATE_SECONDS = 60.0
"""Connections that were closed within these are shown with their reasons."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The answer to ``figures``, and when it came on the monotonic clock."""

    at: float
    answer: Mapping[str, Any]

    @property
    def figures(self) -> dict[int, Mapping[str, Any]]:
        """By process, those that have answered."""
        return {row["pid"]: row["figures"] for row in self.answer["workers"] if row["figures"]}

    @property
    def connections(self) -> Mapping[str, Any]:
        """Their counts, with those of workers that have ended; empty if the server is of a version
        that does not tell."""
        counts: Mapping[str, Any] = self.answer.get("totals", {}).get("connections", {})
        return counts


@dataclass(frozen=True, slots=True)
class Rates:
    """Between two samples: totals of all processes, and the increase of each."""

    seconds: float
    totals: Mapping[str, Any]
    """The figures of now, added up; empty if no process has answered."""
    counted: Mapping[str, Any]
    """The increase of each counter since the sample before, of all."""
    by_process: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """The same of each process."""

    def rate(self, name: str, process: int | None = None) -> float | None:
        """A counter's increase a second; None if it is not known."""
        values = self.counted if process is None else self.by_process.get(process, {})
        return values[name] / self.seconds if name in values and self.seconds > 0 else None

    def percentile(self, histogram: str, percent: float) -> float | None:
        """Seconds; None if nothing was measured."""
        values = self.counted.get(histogram)
        if not values:
            return None
        return percentile(values["bounds"], values["counts"], percent)


def rates(before: Sample | None, after: Sample) -> Rates:
    """What happened from one sample to the next. A process that is new, or in which the server was
    started anew, counts from 0 on; without a sample ``before``, nothing is known."""
    figures = after.figures
    if before is None:
        return Rates(0.0, total(*figures.values()), {})
    known = before.figures
    changes = {}
    for pid, each in figures.items():
        earlier = known.get(pid, {})
        goes_on = earlier.get("since") == each.get("since")
        changes[pid] = difference(each, earlier if goes_on else {})
    counted = total(*changes.values())
    if _goes_on(before.connections, after.connections):
        counted["connections"] = difference(after.connections, before.connections)
    return Rates(after.at - before.at, total(*figures.values()), counted, changes)


def _goes_on(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Are these counts of one server? It may have been started anew, in the same process."""
    return bool(before and after) and before["accepted"] <= after["accepted"]


def percentile(bounds: Sequence[float], counts: Sequence[int], percent: float) -> float | None:
    """The value that ``percent`` of what was counted do not exceed, as if each bucket's were spread
    evenly in it; inf in the last bucket, which has no bound. None without any."""
    wanted = sum(counts) * percent / 100
    if wanted <= 0:
        return None
    below, lower = 0, 0.0
    for bound, number in zip(bounds, counts, strict=False):
        if number > 0 and below + number >= wanted:
            return lower + (bound - lower) * (wanted - below) / number
        below, lower = below + number, bound
    return math.inf


class Late:
    """The reasons for which connections were closed within the last minute."""

    def __init__(self) -> None:
        self._counted: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at: float, rates: Rates) -> None:
        connections = rates.counted.get("connections", {})
        refused = {
            f"refused: {cause}": number for cause, number in connections.get("refused", {}).items()
        }
        self._counted.append((at, {**connections.get("closed", {}), **refused}))
        while self._counted[0][0] < at - LATE_SECONDS:
            self._counted.popleft()

    @property
    def reasons(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for _, counts in self._counted:
            found.update(counts)
        return dict(found)
