"""How precisely a run knows a figure: its 95 % interval, from the windows of the run.

The error comes from how the windows differ, which are seconds at first, by the method in
`estimates`: it holds for latencies that are correlated from one window to the next.

A run that ends when its interval is narrow ends too early: the error of a few windows is itself
uncertain, and sooner or later it is estimated too low by chance. Three rules are against that.
There are few checks, each after a tenth more time than the one before. The error is the largest at
any check since half of the present time, each scaled to the present time, as an error shrinks with
its square root. A mean of them would not do for the high percentiles of a queue: if its few long
spells happened to be short, both the figure and its error are too low, for a while. And the run
ends only when the interval is a twentieth narrower than wanted, so that the last seconds, which
come after the decision, rarely make it too wide again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from epollo.bench.load.goals import Goal
from epollo.bench.results.estimates import Estimate, of_percentile, of_ratio, student
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import number, optional, text
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second
from epollo.bench.results.series import Histograms

_MOST = 240  # windows; then each two become one
_FIRST = 8  # seconds before the first check
_FEWEST = 13  # seconds before a run may end
_BETWEEN = 1.1  # times the seconds of a check are those of the next one
_MARGIN = 0.95  # of the width that is wanted


@dataclass(frozen=True, slots=True)
class Precision:
    """A figure of a run and its 95 % interval, and how precisely it was to be known.

    Attributes:
        goal: the goal as the user wrote it.
        figure: the name of the figure.
        within: how far the bounds may be from it, as a part of it.
        value: the figure; times in seconds, a rate in messages a second. None: not known.
        low, high: the bounds; None: not known, as nothing beyond the figure was seen, or, both of
            them, the run was too short.
    """

    goal: str
    figure: str
    within: float
    value: float | None
    low: float | None
    high: float | None

    @property
    def reached(self) -> bool:
        """Is the figure known as precisely as was wanted?"""
        return self.distance <= self.within

    @property
    def distance(self) -> float:
        """How far the farther bound is from the figure, as a part of it; infinite if unknown."""
        if not self.value or self.low is None or self.high is None:
            return math.inf
        return max(self.value - self.low, self.high - self.value) / self.value

    def to_document(self) -> dict[str, Any]:
        """This interval as JSON values."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``. Raises KeyError, TypeError and ValueError."""
        return cls(
            text(document["goal"]),
            text(document["figure"]),
            number(document["within"]),
            *(optional(document[name]) for name in ("value", "low", "high")),
        )


class Windows:
    """A run in windows of equal length: at first they are seconds, and twice as long whenever there
    would be too many. So they take the same memory however long the run is.

    They have no more than the goals ask for.
    """

    def __init__(self, goals: Sequence[Goal]) -> None:
        self._seconds = 0  # all of them
        self._next_check = _FIRST
        self._goals = goals
        self._distances: list[tuple[int, list[float]]] = []  # seconds, and one for each goal
        self._spans = {goal.span: Histogram() for goal in goals if goal.span}
        self._windows: list[_Window] = []
        self._size = 1  # seconds of a window
        self._filled = 0  # seconds of the last one
        self.checked: list[Precision] = []  # by the last check

    def append(self, second: Second) -> bool:
        """Add the next second of the run. Returns whether all goals are reached by now, if this is
        the time of a check; otherwise false."""
        spans = {name: getattr(second, name) for name in self._spans}
        for name, whole in self._spans.items():
            whole.add(spans[name])
        window = _Window(second.seconds, second.messages, spans)
        if self._filled in (0, self._size):
            self._windows.append(window)
            self._filled = 1
        else:
            self._windows[-1] = self._windows[-1].followed_by(window)
            self._filled += 1
        self._seconds += 1
        if len(self._windows) == _MOST and self._filled == self._size:
            self._join_pairs()
        if self._seconds < self._next_check:
            return False
        self._next_check = math.ceil(self._seconds * _BETWEEN)
        estimates = self._estimates()
        self.checked = self._precisions(estimates)
        reached = all(each.distance <= each.within * _MARGIN for each in self.checked)
        self._distances = [(n, each) for n, each in self._distances if n >= self._seconds / 2]
        self._distances.append((self._seconds, [_distance(estimate) for estimate in estimates]))
        return reached and self._seconds >= _FEWEST

    def amend(self, more: Histograms) -> None:
        """Add values to the whole run, which came too late for their window."""
        for name, histogram in zip(SECOND_HISTOGRAMS, more, strict=True):
            if name in self._spans:
                self._spans[name].add(histogram)

    def precisions(self) -> list[Precision]:
        """How precisely each figure is known by now."""
        return self._precisions(self._estimates())

    def _precisions(self, estimates: Sequence[Estimate | None]) -> list[Precision]:
        return [self._precision(place, estimate) for place, estimate in enumerate(estimates)]

    def _estimates(self) -> list[Estimate | None]:
        """Of each goal, by now."""
        wholes = {name: whole.packed() for name, whole in self._spans.items()}
        return [self._estimate(goal, wholes) for goal in self._goals]

    def _join_pairs(self) -> None:
        pairs = zip(self._windows[::2], self._windows[1::2], strict=True)
        self._windows = [first.followed_by(other) for first, other in pairs]
        self._size *= 2
        self._filled = self._size

    def _precision(self, place: int, estimate: Estimate | None) -> Precision:
        goal = self._goals[place]
        value = low = high = None
        if estimate is not None:
            scale = 1e9 if goal.span else 1.0
            value = estimate.value / scale
            if self._seconds >= _FEWEST:  # fewer do not show how much they differ
                bounds = _bounds(estimate, self._largest(place, estimate))
                low, high = (bound / scale if bound < math.inf else None for bound in bounds)
        return Precision(goal.text, goal.figure, goal.within, value, low, high)

    def _largest(self, place: int, estimate: Estimate) -> float:
        """The largest error as a multiple of the error of ``estimate``."""
        present = _distance(estimate)
        before = [
            distances[place] * math.sqrt(seconds / self._seconds)
            for seconds, distances in self._distances
            if seconds >= self._seconds / 2 and distances[place] < math.inf
        ]
        if not 0 < present < math.inf:
            return 1.0
        return max(present, *before) / present if before else 1.0

    def _estimate(self, goal: Goal, wholes: dict[str, Histogram]) -> Estimate | None:
        windows = self._windows
        if not goal.span:
            return of_ratio([w.messages for w in windows], [w.seconds for w in windows])
        spans = [window.spans[goal.span] for window in windows]
        if goal.percent is None:
            return of_ratio([s.mean * s.total for s in spans], [s.total for s in spans])
        whole = wholes[goal.span]
        return of_percentile(whole, spans, goal.percent) if whole.total else None


@dataclass(frozen=True, slots=True)
class _Window:
    seconds: float
    messages: int
    spans: dict[str, Histogram]

    def followed_by(self, other: _Window) -> _Window:
        spans = {name: span.merged(other.spans[name]).packed() for name, span in self.spans.items()}
        return _Window(self.seconds + other.seconds, self.messages + other.messages, spans)


def _bounds(estimate: Estimate, errors: float = 1.0) -> tuple[float, float]:
    """The bounds of its 95 % interval, if its error is that multiple of the estimated one."""
    return estimate.bounds(student(estimate.freedom) * errors)


def _distance(estimate: Estimate | None) -> float:
    """How far the farther bound of its 95 % interval is from it, as a part of it."""
    if estimate is None:
        return math.inf
    low, high = _bounds(estimate)
    return max(estimate.value - low, high - estimate.value) / estimate.value
