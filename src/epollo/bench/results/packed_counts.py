"""The counts of a histogram that was read from a file, without a Python object for each of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence


class PackedCounts:
    """A mapping of bucket indexes to counts, as `Histogram` needs it; 0 for any other index.

    A result of an hour has millions of counts; in dictionaries they would take ten times the
    memory. The arrays do not change: counts that are set later are in a dictionary.
    """

    __slots__ = ("_counts", "_indexes", "_later")

    def __init__(self, indexes: array[int], counts: array[int]) -> None:
        """``indexes`` are in rising order."""
        self._indexes = indexes
        self._counts = counts
        self._later: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        if index in self._later:
            return self._later[index]
        place = bisect_left(self._indexes, index)
        found = place < len(self._indexes) and self._indexes[place] == index
        return self._counts[place] if found else 0

    def __setitem__(self, index: int, count: int) -> None:
        self._later[index] = count

    def __iter__(self) -> Iterator[int]:
        return iter([index for index, _ in self.items()])

    def __len__(self) -> int:
        return len(list(self.items())) if self._later else len(self._indexes)

    def columns(self) -> tuple[Sequence[int], Sequence[int]]:
        """The indexes in rising order, and their counts; none of 0."""
        if not self._later:
            return self._indexes, self._counts
        pairs = [(index, count) for index, count in sorted(self.items()) if count]
        return [index for index, _ in pairs], [count for _, count in pairs]

    def items(self) -> Iterable[tuple[int, int]]:
        """All pairs of index and count; in rising order unless some were set later."""
        pairs = zip(self._indexes, self._counts, strict=True)
        return (dict(pairs) | self._later).items() if self._later else pairs
