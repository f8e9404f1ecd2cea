"""Which part of a workload each of several processes runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """Every ``of``-th of the connections and messages, from the ``index``-th on, counted from 0.

    Two shards have none in common, and all shards together have each.
    """

    index: int = 0
    of: int = 1

    def count(self, whole: int) -> int:
        """How many of ``whole`` it has."""
        return len(range(self.index, whole, self.of))

    def part(self, whole: int) -> float:
        """The same as a part of ``whole``, from 0 to 1."""
        return self.count(whole) / whole

    def number(self, own: int) -> int:
        """The number in the whole of the one with the number ``own`` in this shard."""
        return own * self.of + self.index


WHOLE = Shard()
