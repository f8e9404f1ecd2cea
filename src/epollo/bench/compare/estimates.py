"""A figure of a run, and how far off it may be: from its seconds, or from repeats of it.

The seconds of a run depend on each other: what is slow stays slow for a while. So a figure's
variance is the long-run one of its seconds, by the equal-weighted cosines of Lazarus, Lewis, Stock
and Watson, "HAR Inference: Recommendations for Practice" (JBES 2018), with Student's t of as many
degrees of freedom as there are cosines. They take 0.4 T^(2/3) of these for T values; we take fewer,
as two runs bring twice the freedom, and seconds of a machine remember more. A percentile is no mean
of seconds: its bounds are the percentiles between which the part of the messages below it lies
(Woodruff, JASA 1952).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epollo.bench.results.histogram import Histogram

BEYOND = 10  # messages that a percentile has to have above it, or it rests on too few
_RESOLUTION = 1 / 1024  # the width of a bucket, at most: values so close may be the same one
_FEWEST = 3  # cosines

# Student's t at 97.5 %, for 1, 2, ... degrees of freedom; those between are rounded down.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.960

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure above 0.

    Attributes:
        value: the figure.
        freedom: the degrees of freedom of what is known of its error.
        bounds: what it lies between, for a number of standard errors.
    """

    value: float
    freedom: float
    bounds: Callable[[float], Bounds]

    @property
    def variance(self) -> float:
        """Of its logarithm."""
        low, high = self.bounds(1.0)
        sides = [math.log(self.value / low)]
        sides += [math.log(high / self.value)] if high < math.inf else []
        return statistics.fmean(sides) ** 2


def of_ratio(amounts: Sequence[float], per: Sequence[float]) -> Estimate | None:
    """A rate or a mean: all ``amounts`` over all of ``per``, both second by second. None where
    that is nothing."""
    whole, divisor = sum(amounts), sum(per)
    if not whole or not divisor:
        return None
    value = whole / divisor
    residuals = [amount - value * share for amount, share in zip(amounts, per, strict=True)]
    error, freedom = _error_of_sum(residuals)
    return _around(value, error / whole, freedom)


def of_percentile(seconds: Sequence[Histogram], percent: float) -> Estimate | None:
    """A percentile of all ``seconds`` together. None with fewer than ``BEYOND`` values above."""
    whole = Histogram.sum(seconds)
    below = percent / 100
    if whole.total * (1 - below) < BEYOND:
        return None
    value = whole.percentile(percent)
    first = max(low for low, _, _ in whole.buckets() if low <= value)
    # Many messages may have the one value, as those that timed out: then what lies below it is
    # as certain as how many reach it, and what lies above as how many exceed it.
    reach, freedom = _error_of_part(seconds, first - 1)
    exceed, _ = _error_of_part(seconds, value)

    def bounds(errors: float) -> Bounds:
        low, high = _shifted(below, -errors * reach), _shifted(below, errors * exceed)
        known = whole.total * (1 - high) >= 1  # else it lies above all that was seen
        highest = whole.percentile(100 * high) if known else math.inf
        return whole.percentile(100 * low) / (1 + _RESOLUTION), highest * (1 + _RESOLUTION)

    return Estimate(value, freedom, bounds)


def of_faults(faults: Sequence[float], of: float) -> Estimate:
    """The part of so many messages that failed, from the faults of each second.

    Half a fault is added, so that none at all has a logarithm too (Anscombe 1956). Few faults
    vary as Poisson's at least, whatever the seconds say.
    """
    count = sum(faults) + 0.5
    mean = sum(faults) / len(faults)
    error, freedom = _error_of_sum([fault - mean for fault in faults])
    if error < math.sqrt(count):
        error, freedom = math.sqrt(count), math.inf
    return _around(count / max(1.0, of), error / count, freedom)


def of_repeats(first: Sequence[float], other: Sequence[float]) -> tuple[Estimate, Estimate]:
    """The geometric means of a figure in the runs of two sides, one of which has several.

    A side of one run has no spread of its own: it is taken to vary as the other does.
    """
    return _of_repeats(first, len(other)), _of_repeats(other, len(first))


def student(freedom: float) -> float:
    """How many standard errors hold 95 % of all cases, either side."""
    if freedom >= 1000:
        return _NORMAL
    return _STUDENT[min(len(_STUDENT), max(1, int(freedom))) - 1]


def _of_repeats(values: Sequence[float], others: int) -> Estimate:
    middle = statistics.geometric_mean(values)
    if len(values) == 1:
        return _around(middle, 0.0, math.inf)
    spread = statistics.stdev([math.log(value) for value in values])
    lent = 1.0 if others == 1 else 0.0
    error = spread * math.sqrt(1 / len(values) + lent)
    return _around(middle, error, len(values) - 1)


def _around(value: float, error: float, freedom: float) -> Estimate:
    """Its logarithm has that standard error."""

    def bounds(errors: float) -> Bounds:
        distance = math.exp(min(errors * error, 300.0))
        return value / distance, value * distance

    return Estimate(value, freedom, bounds)


def _error_of_part(seconds: Sequence[Histogram], above: int) -> tuple[float, float]:
    """The standard error of the part of the values above that, and its freedom: of the part's
    logit, on which no bound of it is below 0 or above 1."""
    counts = [second.above(above) * second.total for second in seconds]
    total = sum(second.total for second in seconds)
    part = sum(counts) / total
    residuals = [n - part * second.total for n, second in zip(counts, seconds, strict=True)]
    error, freedom = _error_of_sum(residuals)
    certain = part <= 0 or part >= 1
    return 0.0 if certain else error / (total * part * (1 - part)), freedom


def _error_of_sum(residuals: Sequence[float]) -> tuple[float, float]:
    """The standard error of the sum of what depends on what came before; its freedom."""
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
