"""Workers whose loop does not answer: passed over, and in the end replaced."""

from __future__ import annotations

from collections.abc import Callable

from epollo.engine import EventLoop
from epollo.settings import Settings
from epollo.workers.pool import Pool
from epollo.workers.recycling import reason_to_recycle
from epollo.workers.slot import Slot
from epollo.workers.worker import Stage, Worker

_LONGEST_PERIOD = 1.0  # seconds
_BEATS = 5  # within the timeout, at least


class Heartbeat:
    """Asks the workers that serve, again and again, whether their loops run.

    Beats are counted, not seconds. A supervisor that was itself stopped for an hour, as by Ctrl-Z,
    has missed only one.
    """

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        pool: Pool,
        recycle: Callable[[Slot, Worker, str], object],
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._pool = pool
        self._recycle = recycle
        self._period = min(settings.worker_timeout / _BEATS or _LONGEST_PERIOD, _LONGEST_PERIOD)
        self.beat()

    def beat(self) -> None:
        """One beat, and the next one later."""
        self._loop.call_later(self._period, self.beat)
        for slot in self._pool.slots:
            self._check(slot)
        for worker, _ in self._pool.workers():
            if worker.stage is Stage.DRAINING:
                worker.send("ping")  # for its figures: nobody minds if it does not answer
        self._pool.steer()

    def _check(self, slot: Slot) -> None:
        worker, timeout = slot.current, self._settings.worker_timeout
        if worker is None or worker.kill_reason:
            return
        if not worker.unanswered:
            worker.send("ping")
        elif timeout and worker.unanswered * self._period >= timeout:
            self._pool.kill(worker, f"was blocked for worker_timeout, {timeout:g} s")
            return
        worker.unanswered += 1
        reason = reason_to_recycle(worker, self._settings)
        if reason:
            self._recycle(slot, worker, reason)
