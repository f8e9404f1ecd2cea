"""Recording values as HdrHistogram does: three significant digits at any size.

The buckets are those of an HdrHistogram with a lowest value of 1 and three significant digits
(http://hdrhistogram.org): 2048 of width 1, then 1024 of width 2, 1024 of width 4, and so on. So
each value is known to better than 0.1 %, and its index takes three integer operations.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Protocol, Self

from hdrh.histogram import HdrHistogram

_BITS = 11  # 2048 sub-buckets: the power of two that distinguishes three decimal digits
_HALF = 1 << (_BITS - 1)
_DIGITS = 3


class BucketCounts(Protocol):
    """Counts by the index of their bucket; 0 for any other index."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, count: int, /) -> None: ...
    def __iter__(self) -> Iterator[int]: ...
    def items(self) -> Iterable[tuple[int, int]]: ...


class Histogram:
    """Counts of non-negative integers (here: nanoseconds). Without values, percentiles are 0."""

    __slots__ = ("_counts", "_maximum", "_minimum", "_squares", "_sum", "total")

    def __init__(self) -> None:
        self._counts: BucketCounts = defaultdict(int)
        self.total: int = 0
        self._sum = 0
        self._squares = 0
        self._minimum: int | None = None
        self._maximum = 0

    def record_many(self, value: int, count: int) -> None:
        """Record ``value``, ``count`` times."""
        self._counts[_index(value)] += count
        self.total += count
        self._sum += value * count
        self._squares += value * value * count
        self._maximum = max(self._maximum, value)
        self._minimum = value if self._minimum is None else min(self._minimum, value)

    @classmethod
    def of_buckets(
        cls, counts: BucketCounts, total: int, values: int, squares: int, least: int, most: int
    ) -> Self:
        """A histogram that keeps ``counts``. ``total`` is the number of values, ``values`` and
        ``squares`` are their exact sums, ``least`` and ``most`` the exact extremes."""
        histogram = cls()
        histogram._counts = counts
        histogram.total = total
        histogram._sum, histogram._squares = values, squares
        if total:
            histogram._minimum, histogram._maximum = least, most
        return histogram

    def record(self, value: int) -> None:
        shift = max(0, value.bit_length() - _BITS)
        self._counts[shift * _HALF + (value >> shift)] += 1
        self.total += 1
        self._sum += value
        self._squares += value * value
        if value > self._maximum:
            self._maximum = value
        if self._minimum is None or value < self._minimum:
            self._minimum = value

    def add(self, other: Histogram) -> None:
        """Add all values of ``other``."""
        for index, count in other._counts.items():
            self._counts[index] += count
        self.total += other.total
        self._sum += other._sum
        self._squares += other._squares
        self._maximum = max(self._maximum, other._maximum)
        known = [m for m in (self._minimum, other._minimum) if m is not None]
        self._minimum = min(known, default=None)

    def merged(self, other: Histogram) -> Histogram:
        """A new histogram with the values of both."""
        return Histogram.sum([self, other])

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Self:
        """A new histogram with the values of all of them."""
        whole = cls()
        for histogram in histograms:
            whole.add(histogram)
        return whole

    def above(self, value: int) -> float:
        """The part of the values above ``value``, to the precision of the buckets."""
        limit = _index(value)
        over = sum(count for index, count in self._counts.items() if index > limit)
        return over / self.total if self.total else 0.0

    def encode(self) -> str:
        """In HdrHistogram's own format: V2, compressed, base64 (HdrHistogram's
        `Histogram.encodeIntoCompressedByteBuffer`). The exact sums are lost: a decoded histogram
        has the mean and deviation of its buckets."""
        buckets = list(self.buckets())
        highest = buckets[-1][1] if buckets else 0
        copy = HdrHistogram(1, max(2, highest), _DIGITS)
        for low, _, count in buckets:
            copy.record_value(low, count)
        return str(copy.encode().decode())

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decode HdrHistogram's format. Raises ValueError if ``text`` is not in that format, or not
        of three significant digits and a lowest value of 1."""
        try:
            copy = HdrHistogram.decode(text)
        except Exception as error:  # of zlib, base64 or struct
            raise ValueError(f"not an HdrHistogram: {error}") from None
        if (copy.lowest_trackable_value, copy.significant_figures) != (1, _DIGITS):
            raise ValueError(f"an HdrHistogram from 1 with {_DIGITS} digits is wanted")
        # Its iterators would take ten times as long.
        counts = [(index, count) for index, count in enumerate(copy.counts) if count]
        values = [(_bounds(index)[1], count) for index, count in counts]
        total = sum(value * count for value, count in values)
        squares = sum(value * value * count for value, count in values)
        ends = (values[0][0], values[-1][0]) if values else (0, 0)
        known = defaultdict(int, counts)
        number = sum(count for _, count in counts)
        return cls.of_buckets(known, number, total, squares, *ends)

    def restore(self, mean: float, deviation: float, minimum: float, maximum: float) -> None:
        """Set the exact figures, which ``decode`` cannot know.

        The sum of squares is computed from the rounded sum, and rounded up; otherwise the variance
        of equal values could be negative.
        """
        if self.total:
            self._sum = round(mean * self.total)
            spread = round((deviation * self.total) ** 2)
            self._squares = -(-(self._sum**2 + spread) // self.total)
            self._minimum, self._maximum = round(minimum), round(maximum)

    @property
    def minimum(self) -> int:
        return self._minimum or 0

    @property
    def maximum(self) -> int:
        return self._maximum

    @property
    def mean(self) -> float:
        """The exact mean, not the mean of the buckets."""
        return self._sum / self.total if self.total else 0.0

    @property
    def deviation(self) -> float:
        """The exact standard deviation of the values."""
        if not self.total:
            return 0.0
        return math.sqrt(self.total * self._squares - self._sum**2) / self.total

    def percentile(self, percent: float) -> int:
        """The value that ``percent`` of the values do not exceed; exact at 100."""
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """The percentile for each of ``percents``."""
        if not self.total:
            return [0 for _ in percents]
        indexes = sorted(self._counts)
        seen = list(accumulate(map(self._counts.__getitem__, indexes)))
        found = [indexes[bisect_left(seen, self._rank(percent))] for percent in percents]
        return [min(_bounds(index)[1], self._maximum) for index in found]

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """The buckets with values, in rising order, as (lowest, highest, count)."""
        for index in sorted(self._counts):
            yield *_bounds(index), self._counts[index]

    def _rank(self, percent: float) -> int:
        """How many of the values are ``percent`` of them.

        99.9 % of 1000 are 999, but 0.999 * 1000 may be slightly more in floating point: so the next
        lower float is rounded up, as HdrHistogram does.
        """
        return max(1, math.ceil(math.nextafter(percent, 0) * self.total / 100))


def _index(value: int) -> int:
    """The index of the bucket of ``value``."""
    shift = max(0, value.bit_length() - _BITS)
    return shift * _HALF + (value >> shift)


def _bounds(index: int) -> tuple[int, int]:
    """The lowest and the highest value of a bucket."""
    shift = max(0, index // _HALF - 1)
    low = (index - shift * _HALF) << shift
    return low, low + (1 << shift) - 1
