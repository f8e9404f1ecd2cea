"""Compares runs: the ratio of each figure to the first side's, with a confidence interval.

A side is one run, or repeats of one. If one of two sides has repeats, the interval comes from the
variation between runs. Otherwise it comes from the variation between seconds, and holds for these
two runs only: it does not show how much a third run would differ.

The errors of two sides are combined with MOVER, of Zou and Donner (Statistics in Medicine 27,
2008), on logarithms and with Welch's degrees of freedom.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epollo.bench.compare import caveats
from epollo.bench.compare.letters import letter
from epollo.bench.results.estimates import (
    Estimate,
    of_faults,
    of_percentile,
    of_ratio,
    of_repeats,
    student,
)
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.series import MINUTE, column, sum_of_responses

SAME = "no difference shown"
HIGHER = "higher"
LOWER = "lower"
_NOTHING = "not compared: nothing was measured"
_SHORT = "not compared: too short"
_FEW = "not compared: too few messages are above it"
_SINGLE = "not compared: it is one message of each run"

_PIECES = 120  # the most pieces of a run; those of a longer run have several seconds


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of one side compared with the first side.

    Attributes:
        ratio: the ratio to the first side; None if the figure is 0 there, or not known.
        low, high: the bounds of its 95 % interval; ``high`` may be infinite. None if there is no
            interval.
        verdict: ``HIGHER`` or ``LOWER`` if the interval does not contain 1, ``SAME`` if it does;
            otherwise why there is no interval.
    """

    ratio: float | None
    low: float | None
    high: float | None
    verdict: str

    @property
    def shown(self) -> bool:
        """Is there a difference?"""
        return self.verdict in (HIGHER, LOWER)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all sides.

    Attributes:
        name: rate, mean, p50, p90, p99, p99.9, max or errors.
        unit: ``"/s"``, ``"s"``, or ``""`` for errors, which are parts of the messages sent.
        better: ``HIGHER`` or ``LOWER``.
        values: of each side; for repeats the geometric mean, and for errors the mean. None: not
            measured, or beyond the sample.
        changes: of each side except the first.
    """

    name: str
    unit: str
    better: str
    values: list[float | None]
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of all sides, and the caveats, one line each."""

    names: list[str]
    rows: list[Row]
    notes: list[str]


def compare(sides: Sequence[Result | Sequence[Result]], names: Sequence[str] = ()) -> Comparison:
    """Compare the sides with the first one; each is a run or repeats of one.

    ``names`` are the names of the sides; the default is A, B, C and so on.
    """
    runs = [[side] if isinstance(side, Result) else list(side) for side in sides]
    called = list(names) or [letter(number) for number in range(len(runs))]
    views = [[_view(run) for run in side] for side in runs]
    return Comparison(called, [_row(f, views) for f in _FIGURES], caveats.of(runs, called))


@dataclass(frozen=True, slots=True)
class _View:
    """One run, and its window in pieces."""

    result: Result
    seconds: list[float]
    sent: list[float]
    messages: list[float]
    errors: list[float]
    responses: list[Histogram]


def _view(result: Result) -> _View:
    count = len(result.seconds)
    size = max(1, math.ceil(count / _PIECES))
    minutes = caveats.minutes(result) if size >= MINUTE else []
    if minutes:
        size = math.ceil(size / MINUTE) * MINUTE
        step = size // MINUTE
        responses = [
            Histogram.sum(minutes[start : start + step]) for start in range(0, len(minutes), step)
        ]
    else:
        step = caveats.sampled(result)
        responses = [
            sum_of_responses(result.seconds, range(start, min(start + size, count), step))
            for start in range(0, count, size)
        ]
    seconds, sent, messages, errors = (
        _sums(column(result.seconds, name), size)
        for name in ("seconds", "sent", "messages", "errors")
    )
    return _View(result, seconds, sent, messages, errors, responses)


def _sums(values: Sequence[float], size: int) -> list[float]:
    """The sums of ``size`` values in a row."""
    return [sum(values[start : start + size]) for start in range(0, len(values), size)]


@dataclass(frozen=True, slots=True)
class _Figure:
    """``value`` is the figure of a run; ``estimate`` is computed from its pieces, with an error."""

    name: str
    unit: str
    value: Callable[[Result], float | None]
    estimate: (
        Callable[[_View], Estimate | None] | None
    )  # None: the seconds of a run do not show its error

    @property
    def better(self) -> str:
        return HIGHER if self.name == "rate" else LOWER


def _percentile(name: str, percent: float) -> _Figure:
    return _Figure(
        name,
        "s",
        lambda result: _seconds(result.response.known_percentiles([percent])[0]),
        lambda run: of_percentile(run.responses, percent, run.result.response),
    )


def _mean(run: _View) -> Estimate | None:
    totals = [response.total for response in run.responses]
    amounts = [response.mean * response.total for response in run.responses]
    return of_ratio(amounts, totals, run.result.response.mean)


def _seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _measured(figure: Callable[[Result], float]) -> Callable[[Result], float | None]:
    """``figure``, of a run that measured some message."""
    return lambda result: figure(result) if result.response.total else None


def _rate(result: Result) -> float | None:
    return result.rate if result.elapsed else None


def _part_failed(result: Result) -> float:
    return sum(result.errors.values()) / max(1, result.sent)


_FIGURES = (
    _Figure("rate", "/s", _rate, lambda run: of_ratio(run.messages, run.seconds)),
    _Figure("mean", "s", _measured(lambda run: run.response.mean / 1e9), _mean),
    _percentile("p50", 50.0),
    _percentile("p90", 90.0),
    _percentile("p99", 99.0),
    _percentile("p99.9", 99.9),
    _Figure("max", "s", _measured(lambda run: run.response.maximum / 1e9), None),
    _Figure("errors", "", _part_failed, lambda run: of_faults(run.errors, sum(run.sent))),
)


def _row(figure: _Figure, sides: Sequence[Sequence[_View]]) -> Row:
    values = [_middle(figure, side) for side in sides]
    changes = [
        _change(figure, (sides[0], side), (values[0], value))
        for side, value in zip(sides[1:], values[1:], strict=True)
    ]
    return Row(figure.name, figure.unit, figure.better, values, changes)


def _middle(figure: _Figure, side: Sequence[_View]) -> float | None:
    """The figure of a side; None if one of its runs does not know it."""
    values = [known for run in side if (known := figure.value(run.result)) is not None]
    if len(values) < len(side):
        return None
    if len(values) == 1:
        return values[0]
    if figure.name == "errors" or not all(values):
        return statistics.fmean(values)
    return statistics.geometric_mean(values)


def _change(
    figure: _Figure,
    sides: tuple[Sequence[_View], Sequence[_View]],
    values: tuple[float | None, float | None],
) -> Change:
    first, other = values
    if first is None or other is None:
        return Change(None, None, None, _unknown(sides))
    ratio = other / first if first else None
    if not any(values):
        return Change(None, None, None, SAME if figure.name == "errors" else _NOTHING)
    estimates = _estimates(figure, *sides)
    if isinstance(estimates, str):
        return Change(ratio, None, None, estimates)
    low, high = _interval(*estimates)
    verdict = HIGHER if low > 1 else LOWER if high < 1 else SAME
    return Change(ratio, low, high, verdict)


def _unknown(sides: Sequence[Sequence[_View]]) -> str:
    """Why a figure of latency is not known."""
    measured = all(run.result.response.total for side in sides for run in side)
    return _FEW if measured else _NOTHING


def _estimates(
    figure: _Figure, first: Sequence[_View], other: Sequence[_View]
) -> tuple[Estimate, Estimate] | str:
    """The estimates of both sides; or why there are none."""
    if len(first) > 1 or len(other) > 1:
        sides = [[_above_0(figure, run.result) for run in side] for side in (first, other)]
        return of_repeats(*sides) if all(map(all, sides)) else _NOTHING
    if figure.estimate is None:
        return _SINGLE
    if any(caveats.too_short(run.result) for run in (*first, *other)):
        return _SHORT
    found = figure.estimate(first[0]), figure.estimate(other[0])
    if found[0] is None or found[1] is None:
        return _FEW if figure.value(first[0].result) and figure.value(other[0].result) else _NOTHING
    return found[0], found[1]


def _above_0(figure: _Figure, result: Result) -> float:
    """The figure; for errors, half an error more, as in of_faults."""
    half = 0.5 / max(1, result.sent) if figure.name == "errors" else 0.0
    return (figure.value(result) or 0.0) + half


def _interval(first: Estimate, other: Estimate) -> tuple[float, float]:
    """The interval of the ratio of ``other`` to ``first``."""
    errors = student(_freedom(first, other))
    first_low, first_high = first.bounds(errors)
    other_low, other_high = other.bounds(errors)
    ratio = other.value / first.value
    down = math.hypot(math.log(other.value / other_low), math.log(first_high / first.value))
    up = math.hypot(math.log(other_high / other.value), math.log(first.value / first_low))
    return ratio * math.exp(-down), ratio * (math.exp(up) if up < 300 else math.inf)


def _freedom(first: Estimate, other: Estimate) -> float:
    """Welch's degrees of freedom of two variances."""
    parts = [(e.variance, e.freedom) for e in (first, other) if e.variance]
    if not parts:
        return math.inf
    whole = sum(variance for variance, _ in parts)
    inverse = sum((variance / whole) ** 2 / freedom for variance, freedom in parts)
    return 1 / inverse if inverse else math.inf
