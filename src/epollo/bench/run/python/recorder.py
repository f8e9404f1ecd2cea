"""Recording as `epollo.bench.results.histogram` does, in an array of a fixed size."""

from __future__ import annotations

from array import array
from itertools import compress, count

from epollo.bench.results.hdr import BUCKETS
from epollo.bench.results.histogram import Histogram, bucket_of
from epollo.bench.results.packed_counts import PackedCounts

_HIGHEST = (1 << 63) - 1


class Recorder:
    """Counts of non-negative integers, in the buckets of an HdrHistogram of three digits."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * BUCKETS))
        self._sum = self._squares = self._maximum = 0
        self._minimum = _HIGHEST

    def record(self, value: int) -> None:
        """Count one value of 0 or more."""
        self.record_many(value, 1)

    def record_many(self, value: int, count: int) -> None:
        """Count a value of 0 or more, ``count`` times."""
        self._counts[bucket_of(value)] += count
        self._sum += value * count
        self._squares += value * value * count
        if value > self._maximum:
            self._maximum = value
        if value < self._minimum:
            self._minimum = value

    def histogram(self) -> Histogram:
        """The values recorded, as a Histogram that keeps no tie to this object."""
        used = self._counts[: bucket_of(self._maximum) + 1]
        indexes = array("I", compress(count(), used))
        counts = array("Q", filter(None, used))
        return Histogram.of_buckets(
            PackedCounts(indexes, counts),
            sum(counts),
            self._sum,
            self._squares,
            self._minimum,
            self._maximum,
        )

    def add(self, other: Recorder) -> None:
        """Count all values of ``other`` too."""
        used = other._counts[: bucket_of(other._maximum) + 1]
        for index in compress(count(), used):
            self._counts[index] += used[index]
        self._sum += other._sum
        self._squares += other._squares
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)

    def clear(self) -> None:
        """Forget all values."""
        used = bucket_of(self._maximum) + 1
        self._counts[:used] = array("Q", bytes(8 * used))
        self._forget()

    def _forget(self) -> None:
        self._sum = self._squares = self._maximum = 0
        self._minimum = _HIGHEST


class Recorders:
    """Response, service and slip of one second, or of the run. In a closed loop service is
    response."""

    def __init__(self, open_loop: bool) -> None:
        self.response: Recorder = Recorder()
        self.service: Recorder = Recorder() if open_loop else self.response
        self.slip: Recorder = Recorder()

    def histograms(self) -> tuple[Histogram, Histogram, Histogram]:
        """The three of them."""
        response = self.response.histogram()
        service = response if self.service is self.response else self.service.histogram()
        return response, service, self.slip.histogram()

    def add(self, other: Recorders) -> None:
        """Count all values of ``other`` too."""
        self.response.add(other.response)
        if self.service is not self.response:
            self.service.add(other.service)
        self.slip.add(other.slip)

    def clear(self) -> None:
        """Forget all values."""
        self.response.clear()
        if self.service is not self.response:
            self.service.clear()
        self.slip.clear()
