"""Recording values as HdrHistogram does: three significant digits at any size.

The buckets are those of an HdrHistogram with a lowest value of 1 and three significant digits
(http://hdrhistogram.org): 2048 of width 1, then 1024 of width 2, 1024 of width 4, and so on. So
each value is known to better than 0.1 %, and an index is three integer operations away.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

_BITS = 11  # 2048 sub-buckets: the power of two that tells three decimal digits apart
_HALF = 1 << (_BITS - 1)


class Histogram:
    """Counts of non-negative integers (here: nanoseconds). Empty ones have percentiles of 0."""

    __slots__ = ("_counts", "_maximum", "_minimum", "_squares", "_sum", "total")

    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.total = 0
        self._sum = 0
        self._squares = 0
        self._minimum: int | None = None
        self._maximum = 0

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
        """Merge ``other``, as if its values had been recorded here."""
        for index, count in other._counts.items():
            self._counts[index] += count
        self.total += other.total
        self._sum += other._sum
        self._squares += other._squares
        self._maximum = max(self._maximum, other._maximum)
        known = [m for m in (self._minimum, other._minimum) if m is not None]
        self._minimum = min(known, default=None)

    @property
    def minimum(self) -> int:
        return self._minimum or 0

    @property
    def maximum(self) -> int:
        return self._maximum

    @property
    def mean(self) -> float:
        """The exact mean, not that of the buckets."""
        return self._sum / self.total if self.total else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of the values recorded."""
        if not self.total:
            return 0.0
        return math.sqrt(max(0.0, self._squares / self.total - self.mean**2))

    def percentile(self, percent: float) -> int:
        """The value that ``percent`` of the values do not exceed; exact at 100."""
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """One value for each of ``percents``, which are in rising order."""
        found: list[int] = []
        wanted = [max(1, math.ceil(percent / 100 * self.total)) for percent in percents]
        seen = 0
        for _, high, count in self.buckets():
            seen += count
            while len(found) < len(wanted) and wanted[len(found)] <= seen:
                found.append(min(high, self._maximum))
        return found + [self._maximum] * (len(wanted) - len(found))

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """The buckets that hold values, in rising order, as (lowest, highest, count)."""
        for index in sorted(self._counts):
            shift = max(0, index // _HALF - 1)
            low = (index - shift * _HALF) << shift
            yield low, low + (1 << shift) - 1, self._counts[index]
