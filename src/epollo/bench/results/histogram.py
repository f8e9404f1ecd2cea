"""Recording values as HdrHistogram does: three significant digits at any size.

The buckets are those of an HdrHistogram with a lowest value of 1 and three significant digits
(http://hdrhistogram.org): 2048 of width 1, then 1024 of width 2, 1024 of width 4, and so on. So
each value is known to better than 0.1 %, and its index takes three integer operations.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, compress
from itertools import count as count_up
from operator import mul
from typing import Any, Protocol, Self

from epollo.bench.results import hdr
from epollo.bench.results.packed_counts import PackedCounts
from epollo.bench.results.reading import typed_errors
from epollo.errors import UsageError

_BITS = 11  # 2048 sub-buckets: the power of two that distinguishes three decimal digits
_HALF = 1 << (_BITS - 1)
HIGHEST = (1 << 63) - 1  # what the format can hold


class BucketCounts(Protocol):
    """Counts by the index of their bucket; 0 for any other index."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, count: int, /) -> None: ...
    def __iter__(self) -> Iterator[int]: ...
    def __len__(self) -> int: ...
    def items(self) -> Iterable[tuple[int, int]]: ...
    def columns(self) -> tuple[Sequence[int], Sequence[int]]: ...


class Histogram:
    """Counts of non-negative integers (here: nanoseconds). Without values, percentiles are 0."""

    __slots__ = ("_counts", "_maximum", "_minimum", "_squares", "_sum", "_unsummed", "total")

    def __init__(self) -> None:
        self._counts: BucketCounts | defaultdict[int, int] = defaultdict(int)
        self.total: int = 0
        self._sum = 0
        self._squares = 0
        self._minimum: int | None = None
        self._maximum = 0
        # Indexes and counts whose values are not in the sums yet: few readers need all sums.
        self._unsummed: tuple[Sequence[int], Sequence[int]] = ((), ())

    def record_many(self, value: int, count: int) -> None:
        """Record ``value``, ``count`` times. Raises UsageError as `record` does, and for a negative
        ``count``."""
        _check(value)
        if not isinstance(count, int) or count < 0:
            raise UsageError(f"count: {count!r} is not a whole number of 0 or more")
        if not count:
            return
        self._counts[bucket_of(value)] += count
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
        """Record ``value``. Raises UsageError if it is not an integer from 0 to 2**63 - 1."""
        if not isinstance(value, int) or not 0 <= value <= HIGHEST:
            _check(value)
        shift = max(0, value.bit_length() - _BITS)
        self._counts[shift * _HALF + (value >> shift)] += 1
        self.total += 1
        self._sum += value
        self._squares += value * value
        if value > self._maximum:
            self._maximum = value
        if self._minimum is None or value < self._minimum:
            self._minimum = value

    @classmethod
    def of_dense(cls, counts: array[int]) -> Self:
        """A histogram with these counts, one for each bucket, and the values of their buckets."""
        histogram = cls()
        indexes = array("I", compress(count_up(), counts))
        histogram._keep(indexes, array("Q", filter(None, counts)))
        return histogram

    def add_to(self, counts: array[int]) -> None:
        """Add the counts to ``counts``, which has one for each bucket."""
        for index, count in zip(*self._columns(), strict=True):
            counts[index] += count

    def _keep(self, indexes: array[int], counts: array[int]) -> None:
        """Take these counts; all else follows from them."""
        if indexes:
            self._counts = PackedCounts(indexes, counts)
            self._unsummed = indexes, counts
            self.total = sum(counts)
            self._minimum = _bounds(indexes[0])[1]
            self._maximum = _bounds(indexes[-1])[1]

    def add(self, other: Histogram) -> None:
        """Add all values of ``other``."""
        other._add_up()
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

    def packed(self) -> Histogram:
        """A new histogram with the same values, which is smaller, and faster to read."""
        indexes, counts = self._columns()
        self._add_up()
        packed = PackedCounts(array("I", indexes), array("Q", counts))
        least, most = self.minimum, self.maximum
        return Histogram.of_buckets(packed, self.total, self._sum, self._squares, least, most)

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Self:
        """A new histogram with the values of all of them."""
        whole = cls()
        for histogram in histograms:
            whole.add(histogram)
        return whole

    def above(self, value: int) -> float:
        """The part of the values above ``value``, to the precision of the buckets."""
        return self.counts_above([value])[value] / self.total if self.total else 0.0

    def counts_above(self, values: Iterable[int]) -> dict[int, int]:
        """How many values are above each of ``values``, to the precision of the buckets."""
        indexes, counts = self._columns()
        places = {value: bisect_right(indexes, bucket_of(value)) for value in values}
        return {value: sum(counts[place:]) for value, place in places.items()}

    def encode(self) -> str:
        """In HdrHistogram's own format: V2, compressed, base64 (HdrHistogram's
        `Histogram.encodeIntoCompressedByteBuffer`). The exact sums are lost: a decoded histogram
        has the mean and deviation of its buckets."""
        indexes, counts = self._columns()
        highest = _bounds(indexes[-1])[1] if indexes else 0
        return hdr.encode(indexes, counts, max(2, highest))

    def _columns(self) -> tuple[Sequence[int], Sequence[int]]:
        """The indexes of the buckets with values, in rising order, and their counts."""
        if not isinstance(self._counts, defaultdict):
            return self._counts.columns()
        indexes = sorted(index for index, count in self._counts.items() if count)
        return indexes, [self._counts[index] for index in indexes]

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decode HdrHistogram's format. Raises ValueError if ``text`` is not in that format, or not
        of three significant digits and a lowest value of 1."""
        indexes, counts = hdr.decode(text)
        histogram = cls()
        histogram._keep(indexes, counts)
        return histogram

    def restore(self, mean: float, deviation: float, minimum: float, maximum: float) -> None:
        """Set the exact figures, which ``decode`` cannot know.

        The sum of squares is computed from the rounded sum, and rounded up; otherwise the variance
        of equal values could be negative.
        """
        self._unsummed = ((), ())
        if self.total:
            self._sum = round(mean * self.total)
            spread = round((deviation * self.total) ** 2)
            self._squares = -(-(self._sum**2 + spread) // self.total)
            self._minimum, self._maximum = round(minimum), round(maximum)

    @property
    def exact(self) -> tuple[int, int, int, int]:
        """The sums of the values and of their squares, and the extremes: what `encode` loses."""
        self._add_up()
        return self._sum, self._squares, self.minimum, self.maximum

    @property
    def minimum(self) -> int:
        return self._minimum or 0

    @property
    def maximum(self) -> int:
        return self._maximum

    @property
    def sum_of_values(self) -> int:
        """The exact sum of the values. Without their squares, it takes half the time of `mean`."""
        indexes, counts = self._unsummed
        values = map(_highest_of_all().__getitem__, indexes)
        more: int = sum(map(mul, values, counts))
        return self._sum + more

    def sum_up_to(self, value: int) -> int:
        """The sum of the values up to ``value``, to the precision of the buckets."""
        indexes, counts = self._columns()
        place = bisect_right(indexes, bucket_of(value))
        return sum(map(mul, map(_highest_of_all().__getitem__, indexes[:place]), counts[:place]))

    @property
    def mean(self) -> float:
        """The exact mean, not the mean of the buckets."""
        self._add_up()
        return self._sum / self.total if self.total else 0.0

    @property
    def deviation(self) -> float:
        """The exact standard deviation of the values."""
        self._add_up()
        if not self.total:
            return 0.0
        return math.sqrt(self.total * self._squares - self._sum**2) / self.total

    def percentile(self, percent: float) -> int:
        """The value that ``percent`` of the values do not exceed; exact at 100. Raises UsageError
        if ``percent`` is not from 0 to 100."""
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """The percentile for each of ``percents``. Raises as `percentile` does."""
        wanted = [_checked_percent(percent) for percent in percents]
        if not self.total:
            return [0 for _ in wanted]
        pairs = sorted(self._counts.items())
        seen = list(accumulate(count for _, count in pairs))
        found = [pairs[bisect_left(seen, self._rank(percent))][0] for percent in wanted]
        return [min(_bounds(index)[1], self._maximum) for index in found]

    def known(self, percent: float) -> bool:
        """Is that percentile within the sample? Above the median, at least one value must lie above
        it: otherwise it is the maximum, whatever ``percent`` is. Raises as `percentile` does."""
        wanted = _checked_percent(percent)
        if not self.total or wanted in (0, 100):
            return self.total > 0
        return wanted <= 50 or self._rank(wanted) < self.total

    def known_percentiles(self, percents: Iterable[float]) -> list[int | None]:
        """As `percentiles`; None for those that are not `known`."""
        wanted = list(percents)
        values = self.percentiles(wanted)
        return [v if self.known(p) else None for p, v in zip(wanted, values, strict=True)]

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """The buckets with values, in rising order, as (lowest, highest, count)."""
        for index, count in sorted(self._counts.items()):
            yield *_bounds(index), count

    @property
    def used(self) -> int:
        """The number of buckets with values."""
        return len(self._counts)

    def _add_up(self) -> None:
        """Add to the sums what `decode` left out; a value is taken for the highest of its
        bucket."""
        indexes, counts = self._unsummed
        if not indexes:
            return
        self._unsummed = ((), ())
        highest = list(map(_highest_of_all().__getitem__, indexes))
        sums = list(map(mul, highest, counts))
        self._sum += sum(sums)
        self._squares += sum(map(mul, sums, highest))

    def _rank(self, percent: float) -> int:
        """How many of the values are ``percent`` of them.

        99.9 % of 1000 are 999, but 0.999 * 1000 may be slightly more in floating point: so the next
        lower float is rounded up, as HdrHistogram does.
        """
        return max(1, math.ceil(math.nextafter(percent, 0) * self.total / 100))


class StoredHistogram(Histogram):
    """A histogram that is kept as text, and is decoded when it is used.

    ``read`` returns the text, and what ``exact`` was of it; None if that is not known.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], tuple[str, tuple[int, int, int, int] | None]]) -> None:
        self._read = read  # the attributes of a Histogram are set by __getattr__

    def __getattr__(self, name: str) -> Any:
        if name not in Histogram.__slots__:
            raise AttributeError(name)
        text, exact = self._read()
        with typed_errors():
            found = Histogram.decode(text)
        for each in Histogram.__slots__:
            setattr(self, each, getattr(found, each))
        if exact is not None and self.total:
            self._unsummed = ((), ())
            self._sum, self._squares, self._minimum, self._maximum = exact
        return getattr(self, name)

    def encode(self) -> str:
        return self._read()[0]

    def __reduce__(self) -> Any:
        """Pickled as a plain one."""
        return _plain, (self.encode(), self.exact)


def _plain(text: str, exact: tuple[int, int, int, int]) -> Histogram:
    stored = StoredHistogram(lambda: (text, exact))
    plain = Histogram()
    plain.add(stored)
    return plain


def _check(value: int) -> None:
    """Refuse what no bucket is for. Raises UsageError."""
    if not isinstance(value, int) or not 0 <= value <= HIGHEST:
        raise UsageError(f"value: {value!r} is not an integer from 0 to 2**63 - 1")


def _checked_percent(percent: float) -> float:
    """``percent``, if a percentile of it exists. Raises UsageError."""
    if not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise UsageError(f"percent: {percent!r} is not a number from 0 to 100")
    return percent


def bucket_of(value: int) -> int:
    """The index of the bucket of ``value``."""
    shift = max(0, value.bit_length() - _BITS)
    return shift * _HALF + (value >> shift)


@cache
def _highest_of_all() -> list[int]:
    """The highest value of each bucket."""
    return [_bounds(index)[1] for index in range(hdr.BUCKETS)]


def bounds_of(value: int) -> tuple[int, int]:
    """The lowest and the highest value of the bucket of ``value``."""
    return _bounds(bucket_of(value))


def _bounds(index: int) -> tuple[int, int]:
    """The lowest and the highest value of a bucket."""
    shift = max(0, index // _HALF - 1)
    low = (index - shift * _HALF) << shift
    return low, low + (1 << shift) - 1
