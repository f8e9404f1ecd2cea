"""What a supervisor and the workers of each slot have counted: those that are, and those that were.

A worker's counts end with it. A scraper would see them fall, and miss what was counted since it
looked last; so the supervisor keeps them. Each worker tells its figures after every heartbeat, and
once more before it ends. Of one that was killed, the last that it told count.

A supervisor's own counts end with it, too. After a handover, it tells all of them to the one that
has taken over, again and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from epollo.control.inquirer import Values
from epollo.control.totals import ended, total
from epollo.workers.pool import Pool
from epollo.workers.replacement import Replacements
from epollo.workers.worker import END_CAUSES


class Totals:
    """The sums, with those of the supervisor before."""

    def __init__(self, pool: Pool, replacements: Replacements) -> None:
        self._pool = pool
        self._replacements = replacements
        self._ended: dict[int, Values] = {}  # by slot, of the workers that have ended
        self._causes = Counter(dict.fromkeys(END_CAUSES, 0))
        self._before: dict[int, Values] = {}  # of the workers of the supervisor before
        self._causes_before: Mapping[str, int] = {}
        self._reloads_before: Mapping[str, int] = {}

    def end(self, slot: int, told: Values | None, cause: str) -> None:
        """A worker of ``slot`` has ended; ``told`` are its last figures."""
        self._causes[cause] += 1
        if told is not None:
            self._ended[slot] = _with(self._ended.get(slot), ended(told))

    def of_before(self, told: dict[str, Any]) -> None:
        """What the supervisor before has told, as `tellable` is."""
        self._before = {int(slot): each for slot, each in told["slots"].items()}
        self._causes_before, self._reloads_before = told["ended"], told["reloads"]

    def before_ended(self) -> None:
        """The supervisor before has ended, with all its workers."""
        self._before = {slot: ended(each) for slot, each in self._before.items()}

    @property
    def tellable(self) -> dict[str, Any]:
        """All of them, as JSON can say it."""
        return {"slots": self.by_slot(), "ended": self.ended, "reloads": self.reloads}

    @property
    def ended(self) -> Mapping[str, int]:
        """Workers that have ended, by cause."""
        return total(self._causes_before, self._causes)

    @property
    def reloads(self) -> Mapping[str, int]:
        """Reloads, by result."""
        return total(self._reloads_before, self._replacements.results)

    def by_slot(self) -> dict[int, Values]:
        """The figures of all workers that are or were in each slot."""
        result = dict(self._before)
        for slot, each in self._ended.items():
            result[slot] = _with(result.get(slot), each)
        for worker, slot in self._pool.workers():
            if worker.figures is not None:
                result[slot] = _with(result.get(slot), worker.figures)
        return result


def _with(one: Values | None, other: Values) -> Values:
    return other if one is None else total(one, other)
