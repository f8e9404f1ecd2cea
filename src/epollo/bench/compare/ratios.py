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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from epollo.bench.compare import caveats
from epollo.bench.compare.estimates import (
    RESOLUTION,
    Estimate,
    edges,
    of_faults,
    of_percentile,
    of_ratio,
    of_repeated_faults,
    of_repeats,
    student,
)
from epollo.bench.compare.letters import letter
from epollo.bench.compare.pieces import Pieces
from epollo.bench.results.result import Result

SAME = "no difference shown"
HIGHER = "higher"
LOWER = "lower"
_NOT = "not compared: "
NOTHING = f"{_NOT}nothing was measured"
SHORT = f"{_NOT}too short"
FEW = f"{_NOT}too few messages are above it"
SINGLE = f"{_NOT}it is one message of each run"

FIGURES = ("rate", "mean", "p50", "p90", "p99", "p99.9", "max", "errors")
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)


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

    @property
    def why_not(self) -> str:
        """Why it is not compared; empty if it is."""
        return self.verdict.removeprefix(_NOT) if self.verdict.startswith(_NOT) else ""


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


def compare(
    sides: Sequence[Result | Sequence[Result]],
    names: Sequence[str] = (),
    percents: Iterable[float] = (),
) -> Comparison:
    """Compare the sides with the first one; each is a run or repeats of one.

    ``names`` are the names of the sides; the default is A, B, C and so on. ``percents`` are
    percentiles that are compared too, in addition to those of every comparison.
    """
    runs = [[side] if isinstance(side, Result) else list(side) for side in sides]
    called = list(names) or [letter(number) for number in range(len(runs))]
    wanted = sorted({*_PERCENTILES, *percents})
    pieces = [[_pieces(run, wanted) for run in side] for side in runs]
    rows = [_row(figure, pieces) for figure in _figures(wanted)]
    return Comparison(called, rows, caveats.of(runs, called))


def _pieces(result: Result, percents: Sequence[float]) -> Pieces:
    values = [value for percent in percents for value in edges(result.response, percent)]
    return Pieces.of(result, values)


@dataclass(frozen=True, slots=True)
class _Figure:
    """``value`` is the figure of a run; ``estimate`` is computed from its pieces, with an error.
    Values that differ by less than the part ``step`` may be equal."""

    name: str
    unit: str
    value: Callable[[Result], float | None]
    estimate: (
        Callable[[Pieces], Estimate | None] | None
    )  # None: the seconds of a run do not show its error
    step: Callable[[Result], float] = lambda _: 0.0

    @property
    def better(self) -> str:
        return HIGHER if self.name == "rate" else LOWER


def name_of(percent: float) -> str:
    """The name of the row of a percentile."""
    return f"p{percent:.12g}"


def _percentile(percent: float) -> _Figure:
    return _Figure(
        name_of(percent),
        "s",
        lambda result: _seconds(result.response.known_percentiles([percent])[0]),
        lambda run: of_percentile(run.result.response, run.responses, percent),
        lambda _: RESOLUTION,
    )


def _mean(run: Pieces) -> Estimate | None:
    totals = [responses.total for responses in run.responses]
    sums = [responses.sum for responses in run.responses]
    return of_ratio(sums, totals, run.result.response.mean)


def _seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _measured(figure: Callable[[Result], float]) -> Callable[[Result], float | None]:
    """``figure``, of a run that measured some message."""
    return lambda result: figure(result) if result.response.total else None


def _rate(result: Result) -> float | None:
    return result.rate if result.elapsed else None


def _one_message(result: Result) -> float:
    return 1 / max(1, result.messages)


def _part_failed(result: Result) -> float:
    return sum(result.errors.values()) / max(1, result.sent)


def _figures(percents: Sequence[float]) -> list[_Figure]:
    return [*_BEFORE, *map(_percentile, percents), *_AFTER]


_BEFORE = (
    _Figure("rate", "/s", _rate, lambda run: of_ratio(run.messages, run.seconds), _one_message),
    _Figure("mean", "s", _measured(lambda run: run.response.mean / 1e9), _mean),
)
_AFTER = (
    _Figure("max", "s", _measured(lambda run: run.response.maximum / 1e9), None),
    _Figure("errors", "", _part_failed, lambda run: of_faults(run.errors, sum(run.sent))),
)


def _row(figure: _Figure, sides: Sequence[Sequence[Pieces]]) -> Row:
    values = [_middle(figure, side) for side in sides]
    changes = [
        _change(figure, (sides[0], side), (values[0], value))
        for side, value in zip(sides[1:], values[1:], strict=True)
    ]
    return Row(figure.name, figure.unit, figure.better, values, changes)


def _middle(figure: _Figure, side: Sequence[Pieces]) -> float | None:
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
    sides: tuple[Sequence[Pieces], Sequence[Pieces]],
    values: tuple[float | None, float | None],
) -> Change:
    first, other = values
    if first is None or other is None:
        return Change(None, None, None, _unknown(sides))
    ratio = other / first if first else None
    if not any(values):
        return Change(None, None, None, SAME if figure.name == "errors" else NOTHING)
    estimates = _estimates(figure, *sides)
    if isinstance(estimates, str):
        return Change(ratio, None, None, estimates)
    low, high = _interval(*estimates)
    verdict = HIGHER if low > 1 else LOWER if high < 1 else SAME
    return Change(ratio, low, high, verdict)


def _unknown(sides: Sequence[Sequence[Pieces]]) -> str:
    """Why a figure of latency is not known."""
    measured = all(run.result.response.total for side in sides for run in side)
    return FEW if measured else NOTHING


def _estimates(
    figure: _Figure, first: Sequence[Pieces], other: Sequence[Pieces]
) -> tuple[Estimate, Estimate] | str:
    """The estimates of both sides; or why there are none."""
    if len(first) > 1 or len(other) > 1:
        return _of_repeats(figure, first, other)
    if figure.estimate is None:
        return SINGLE
    if any(run.too_short for run in (*first, *other)):
        return SHORT
    found = figure.estimate(first[0]), figure.estimate(other[0])
    if found[0] is None or found[1] is None:
        return FEW if figure.value(first[0].result) and figure.value(other[0].result) else NOTHING
    return found[0], found[1]


def _of_repeats(
    figure: _Figure, first: Sequence[Pieces], other: Sequence[Pieces]
) -> tuple[Estimate, Estimate] | str:
    sides = [[run.result for run in side] for side in (first, other)]
    if figure.name == "errors":
        return of_repeated_faults(*([_faults(run) for run in side] for side in sides))
    values = [[figure.value(run) or 0.0 for run in side] for side in sides]
    step = max(figure.step(run) for side in sides for run in side)
    return of_repeats(values[0], values[1], step) if all(map(all, values)) else NOTHING


def _faults(result: Result) -> tuple[int, int]:
    """Its errors, and the messages of which they are a part."""
    return sum(result.errors.values()), max(1, result.sent)


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
