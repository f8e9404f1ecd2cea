"""A supervisor with its workers, as its metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from epollo.control.inquirer import Answer, Values
from epollo.metrics.watched import SupervisorFigures
from epollo.workers.pool import Pool
from epollo.workers.totals import Totals
from epollo.workers.worker import Stage


class WatchedWorkers:
    """Keeps `epollo.metrics.watched.WatchedServer`."""

    def __init__(
        self,
        pool: Pool,
        totals: Totals,
        is_ready: Callable[[], bool],
        has_served: Callable[[], bool],
        tell: Callable[[], object],
    ) -> None:
        """``tell`` is called before anybody is told the figures: after a handover, the supervisor
        that serves must not know less."""
        self._pool = pool
        self._totals = totals
        self._is_ready = is_ready
        self._has_served = has_served
        self._tell = tell

    @property
    def answers(self) -> bool:
        """Does the loop of a worker run, or have they not come to serve yet?"""
        some = any(worker.answers for worker, _ in self._pool.workers())
        return some or not self._has_served()

    @property
    def ready(self) -> bool:
        return self._is_ready() and any(slot.accepts for slot in self._pool.slots)

    def figures(self, answers: Sequence[Answer]) -> Mapping[int, Values]:
        """What they have just answered is in the totals already."""
        self._tell()
        return self._totals.by_slot()

    def supervisor(self) -> SupervisorFigures:
        workers = dict.fromkeys((stage.value for stage in Stage), 0)
        for worker, _ in self._pool.workers():
            workers[worker.stage.value] += 1
        return SupervisorFigures(workers, self._totals.ended, self._totals.reloads)
