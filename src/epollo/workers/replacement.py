"""Workers that serve are replaced, one slot after the other: the new one serves before the old one
drains."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from epollo.errors import EpolloError
from epollo.logs.logger import logger
from epollo.workers.pool import Pool
from epollo.workers.slot import Slot
from epollo.workers.task import Task
from epollo.workers.worker import Worker

_log = logger("epollo.supervisor")


class Replacements:
    """A reload replaces the workers of all slots; recycling replaces one.

    If a new worker does not boot, the old one goes on, and so do those of the slots that the reload
    has not reached.
    """

    def __init__(self, pool: Pool, task: Task, reloaded: Callable[[], object]) -> None:
        """``reloaded`` is called at the end of the last reload of those that were asked for."""
        self._pool = pool
        self._task = task
        self._reloaded = reloaded
        self._queue: deque[Slot] = deque()
        self._active: Slot | None = None  # its new worker boots
        self._recycle_at: dict[Slot, float] = {}  # the earliest time for the next recycling
        self._reloading = self._again = False
        self._replaced = 0
        self._began = 0.0
        self.results: dict[str, int] = {"done": 0, "given_up": 0}
        """How many reloads have ended so."""

    @property
    def busy(self) -> bool:
        """Is a worker being replaced, or are several?"""
        return self._reloading or self._active is not None

    def reload(self) -> None:
        """Replace all workers by such that import the application anew. During a reload: once more
        after it."""
        if self._reloading:
            self._again = True
            return
        try:
            self._task.load_certificates()
        except EpolloError as error:
            _log.error("no reload, nothing has changed: %s", error)
            self.results["given_up"] += 1
            self._reloaded()
            return
        count = _workers(len(self._pool.slots))
        _log.info("reload: %s to be replaced, one after the other", count)
        self._pool.generation += 1
        self._reloading, self._replaced, self._began = True, 0, time.monotonic()
        self._queue = deque(self._pool.slots)
        self._next()

    def recycle(self, slot: Slot, worker: Worker, reason: str) -> None:
        """Replace ``worker``, which serves ``slot``. If that has failed, or was not long ago, there
        is a pause before."""
        now = time.monotonic()
        busy = slot is self._active or slot in self._queue or slot.booting is not None
        if busy or self._pool.stopping or now < self._recycle_at.get(slot, 0.0):
            return
        self._recycle_at[slot] = now + slot.recycling_pause.after(worker.age)
        _log.info("worker %d %s; another takes its place", worker.pid, reason)
        self._queue.append(slot)
        self._next()

    def on_ready(self, slot: Slot) -> None:
        """A new worker serves ``slot``."""
        if slot is self._active:
            self._active = None
            self._replaced += 1
            self._next()

    def on_boot_failed(self, slot: Slot, error: EpolloError) -> None:
        """A new worker of ``slot`` has not come to serve."""
        if slot is not self._active:
            return
        self._active = None
        if self._reloading:
            self._queue.clear()
            _log.error("reload given up, the workers before go on: %s", error)
            self.results["given_up"] += 1
            self._end()
        else:
            _log.error("the worker before goes on: %s", error)
            self._recycle_at[slot] = time.monotonic() + slot.recycling_pause.after(0.0)
            self._next()

    def _next(self) -> None:
        while self._active is None and self._queue:
            slot = self._queue.popleft()
            if self._is_replaceable(slot):
                self._active = slot
                self._pool.boot(slot)
        if self._active is None and self._reloading:
            seconds = time.monotonic() - self._began
            _log.info("reload done: %s replaced in %.1f s", _workers(self._replaced), seconds)
            self.results["done"] += 1
            self._end()

    def _is_replaceable(self, slot: Slot) -> bool:
        worker = slot.current
        if slot.booting is not None or slot.given_up:
            return False
        if worker is None:  # none boots, or only after a pause, which a reload ends
            return True
        return not self._reloading or worker.generation < self._pool.generation

    def _end(self) -> None:
        self._reloading, again = False, self._again
        self._again = False
        if again:
            self.reload()
        else:
            self._reloaded()


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"
