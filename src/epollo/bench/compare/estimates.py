"""A figure of a run and its error, estimated from the seconds of the run, or from repeats.

The seconds of a run are correlated: a slow phase lasts for a while. So the variance of a figure is
the long-run variance of its seconds, by the equal-weighted cosines of Lazarus, Lewis, Stock and
Watson, "HAR Inference: Recommendations for Practice" (JBES 2018), with Student's t of as many
degrees of freedom as there are cosines. They use 0.4 T^(2/3) cosines for T values; we use fewer,
because two runs have twice the freedom, and the seconds of a machine are correlated for longer. A
percentile is not a mean of seconds: its bounds are the percentiles between which the part of the
messages below it lies (Woodruff, JASA 1952).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from epollo.bench.results.histogram import Histogram, bounds_of

BEYOND = 10  # messages that must be above a percentile; with fewer it is too uncertain
RESOLUTION = 1 / 1024  # the largest relative width of a bucket: values this close may be equal
_FEWEST = 3  # cosines

# Student's t at 97.5 %, for 1, 2, ... degrees of freedom.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.960

Bounds = tuple[float, float]


class Tail(Protocol):
    """Values of a piece of a run."""

    @property
    def total(self) -> int:
        """Their number."""

    def above(self, value: int, /) -> float:
        """The part of them above ``value``."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure above 0.

    Attributes:
        value: the figure.
        freedom: the degrees of freedom of its error.
        bounds: its bounds, for a number of standard errors.
    """

    value: float
    freedom: float
    bounds: Callable[[float], Bounds]

    @property
    def variance(self) -> float:
        """The variance of its logarithm."""
        low, high = self.bounds(1.0)
        sides = [math.log(self.value / low)]
        sides += [math.log(high / self.value)] if high < math.inf else []
        return statistics.fmean(sides) ** 2


def of_ratio(
    amounts: Sequence[float], per: Sequence[float], known: float | None = None
) -> Estimate | None:
    """A rate or a mean: the sum of ``amounts`` divided by the sum of ``per``, both second by
    second. None if either is 0. ``known`` is its exact value, if the seconds are a sample."""
    whole, divisor = sum(amounts), sum(per)
    if not whole or not divisor:
        return None
    value = whole / divisor
    residuals = [amount - value * unit for amount, unit in zip(amounts, per, strict=True)]
    error, freedom = _error_of_sum(residuals)
    return _around(known or value, error / whole, freedom)


def edges(whole: Histogram, percent: float) -> tuple[int, int]:
    """The values that are looked at for the error of a percentile: the highest of the bucket before
    the percentile's own, and the percentile.

    Many messages may have the same value, such as those that timed out. So the lower bound depends
    on how many are above the first, and the upper bound on how many are above the second.
    """
    value = whole.percentile(percent)
    return bounds_of(value)[0] - 1, value


def of_percentile(whole: Histogram, pieces: Sequence[Tail], percent: float) -> Estimate | None:
    """A percentile of ``whole``, with its error from ``pieces`` of it, or from a sample of these.
    None with fewer than ``BEYOND`` values above."""
    below = percent / 100
    if whole.total * (1 - below) < BEYOND:
        return None
    before, value = edges(whole, percent)
    reach, freedom = _error_of_part(pieces, before)
    exceed, _ = _error_of_part(pieces, value)

    def bounds(errors: float) -> Bounds:
        low, high = _shifted(below, -errors * reach), _shifted(below, errors * exceed)
        known = whole.total * (1 - high) >= 1  # else it lies above all that was seen
        highest = whole.percentile(100 * high) if known else math.inf
        return whole.percentile(100 * low) / (1 + RESOLUTION), highest * (1 + RESOLUTION)

    return Estimate(value, freedom, bounds)


def of_faults(faults: Sequence[float], of: float) -> Estimate:
    """The part of ``of`` messages that failed, from the faults of each second.

    Half a fault is added, so that 0 faults have a logarithm too (Anscombe 1956). The error is at
    least the error of a Poisson count, whatever the seconds show.
    """
    count = sum(faults) + 0.5
    mean = sum(faults) / len(faults)
    error, freedom = _error_of_sum([fault - mean for fault in faults])
    if error < math.sqrt(count):
        error, freedom = math.sqrt(count), math.inf
    return _around(count / max(1.0, of), error / count, freedom)


def of_repeats(
    first: Sequence[float], other: Sequence[float], step: float = 0.0
) -> tuple[Estimate, Estimate]:
    """The geometric means of a figure over the runs of two sides, one of which has several.

    A side of one run is assumed to vary as the other side does. Values that differ by less than the
    part ``step`` may be equal.
    """
    return _of_repeats(first, other, step), _of_repeats(other, first, step)


def of_repeated_faults(
    first: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]
) -> tuple[Estimate, Estimate]:
    """As `of_repeats`, of the part of messages that failed. Each run is its faults, and its
    messages. As in `of_faults`, half a fault is added, and the error is at least the error of a
    Poisson count."""
    return _of_repeated_faults(first, other), _of_repeated_faults(other, first)


def student(freedom: float) -> float:
    """The number of standard errors of a 95 % interval, to either side. Between two values of the
    table it is a little more than exact."""
    inverse = 1 / max(1.0, freedom)
    below = min(len(_STUDENT), int(1 / inverse)) if inverse else len(_STUDENT)
    lower = _STUDENT[below - 1]
    upper, least = (_STUDENT[below], 1 / (below + 1)) if below < len(_STUDENT) else (_NORMAL, 0.0)
    return upper + (lower - upper) * (inverse - least) / (1 / below - least)


def _of_repeats(values: Sequence[float], others: Sequence[float], step: float) -> Estimate:
    middle = statistics.geometric_mean(values)
    if len(values) == 1:
        return _around(middle, 0.0, math.inf, step)
    spread = statistics.stdev([math.log(value) for value in values])
    return _around(middle, spread * _lent(values, others), len(values) - 1, step)


def _of_repeated_faults(
    runs: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]
) -> Estimate:
    count = sum(faults for faults, _ in runs) + 0.5
    middle = count / sum(messages for _, messages in runs)
    error, freedom = 1 / math.sqrt(count), math.inf
    if len(runs) > 1:
        spread = statistics.stdev([faults / messages for faults, messages in runs]) / middle
        between = spread * _lent(runs, others)
        error, freedom = (between, len(runs) - 1) if between > error else (error, freedom)
    return _around(middle, error, freedom)


def _lent(values: Sequence[object], others: Sequence[object]) -> float:
    """The standard error of the mean of ``values``, in their standard deviations. The error of a
    single run on the other side is included."""
    return math.sqrt(1 / len(values) + (len(others) == 1))


def _around(value: float, error: float, freedom: float, step: float = 0.0) -> Estimate:
    """An estimate whose logarithm has the standard error ``error``, known to ``step`` at best."""

    def bounds(errors: float) -> Bounds:
        distance = math.exp(min(errors * error, 300.0)) * (1 + step)
        return value / distance, value * distance

    return Estimate(value, freedom, bounds)


def _error_of_part(pieces: Sequence[Tail], above: int) -> tuple[float, float]:
    """The standard error and the freedom of the part of the values above ``above``. They are those
    of its logit, so that no bound is below 0 or above 1."""
    counts = [piece.above(above) * piece.total for piece in pieces]
    total = sum(piece.total for piece in pieces)
    part = sum(counts) / total
    residuals = [n - part * piece.total for n, piece in zip(counts, pieces, strict=True)]
    error, freedom = _error_of_sum(residuals)
    certain = part <= 0 or part >= 1
    return 0.0 if certain else error / (total * part * (1 - part)), freedom


def _error_of_sum(residuals: Sequence[float]) -> tuple[float, float]:
    """The standard error of the sum of correlated residuals, and its freedom."""
    freedom = max(_FEWEST, round(len(residuals) ** (2 / 3) / 4))
    squares = [_cosine(residuals, number) ** 2 for number in range(1, freedom + 1)]
    return math.sqrt(2 * statistics.fmean(squares)), freedom


def _cosine(residuals: Sequence[float], number: int) -> float:
    angle = math.pi * number / len(residuals)
    return sum(value * math.cos(angle * (n + 0.5)) for n, value in enumerate(residuals))


def _shifted(part: float, by: float) -> float:
    """``part`` with ``by`` added to its logit."""
    odds = part / (1 - part) * math.exp(max(-300.0, min(by, 300.0)))
    return odds / (1 + odds)
