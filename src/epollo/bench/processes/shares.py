"""Which part of a workload one of several processes has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Every ``of``-th of the connections and messages, from the ``index``-th on, counted from 0: so
    no two shares have one in common, and all of them together have each."""

    index: int = 0
    of: int = 1

    def count(self, whole: int) -> int:
        """How many it has of so many."""
        return len(range(self.index, whole, self.of))

    def part(self, whole: int) -> float:
        """How many that is of all, from 0 to 1."""
        return self.count(whole) / whole

    def number(self, own: int) -> int:
        """Which of all it is that has the number ``own`` here."""
        return own * self.of + self.index


WHOLE = Share()
