"""A histogram of durations."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS: tuple[float, ...] = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the buckets in seconds; there is one more bucket, above them. Most durations are
below the first: what only compares with that costs next to nothing."""


class Durations:
    """How many durations fell into each bucket, and their sum in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS) + 1)
        self.sum: float = 0.0

    def count(self, seconds: float, times: int = 1) -> None:
        """Count durations of ``seconds`` each. The sum is not changed."""
        self.counts[bisect_left(BOUNDS, seconds)] += times

    @property
    def total(self) -> int:
        """All that were counted."""
        return sum(self.counts)
