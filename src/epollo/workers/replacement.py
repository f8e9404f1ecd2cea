"""Workers that serve are replaced, one slot after the other: the new one serves before the old one
drains."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from epollo.errors import EpolloError
from epollo.logs.logger import logger
from epollo.plurals import counted
from epollo.workers.pool import Pool
from epollo.workers.slot import Slot
from epollo.workers.task import Task
from epollo.workers.worker import Worker

_log = logger("epollo.supervisor")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload, or the replacement of one worker, has ended."""

    replaced: int
    """Workers."""
    seconds: float
    error: str
    """Why it was given up; empty if it was not."""


Told: TypeAlias = Callable[[Outcome], object]


class Replacements:
    """A reload replaces the workers of all slots; recycling replaces one.

    If a new worker does not boot, the old one goes on, and so do those of the slots that the reload
    has not reached. A worker that boots when the reload begins may have imported the code of
    before, so another one boots after it.
    """

    def __init__(self, pool: Pool, task: Task, reloaded: Callable[[], object]) -> None:
        """``reloaded`` is called at the end of the last reload of those that were asked for."""
        self._pool = pool
        self._task = task
        self._reloaded = reloaded
        self._queue: deque[Slot] = deque()
        self._active: Slot | None = None  # a worker boots for it
        self._recycle_at: dict[Slot, float] = {}  # the earliest time for the next recycling
        self._reloading = self._again = False
        self._told: list[Told] = []  # of the reload under way
        self._told_again: list[Told] = []  # of the one after it
        self._requested: dict[Slot, tuple[float, Told]] = {}  # since when, and what is called
        self._replaced = 0
        self._began = 0.0
        self.results: dict[str, int] = {"done": 0, "given_up": 0}
        """How many reloads have ended so."""

    @property
    def busy(self) -> bool:
        """Is a worker being replaced, or are several?"""
        return self._reloading or self._active is not None

    def reload(self, told: Told | None = None) -> None:
        """Replace all workers by such that import the application anew. During a reload: once more
        after it. At its end ``told`` is called."""
        if told is not None:
            (self._told_again if self._reloading else self._told).append(told)
        if self._reloading:
            self._again = True
            return
        self._began = time.monotonic()
        try:
            self._task.load_certificates()
        except EpolloError as error:
            _log.error("no reload, nothing has changed: %s", error)
            self.results["given_up"] += 1
            self._tell(f"nothing has changed: {error}")
            self._reloaded()
            return
        count = _workers(len(self._pool.slots))
        _log.info("reload: %s to be replaced, one after the other", count)
        self._pool.generation += 1
        self._reloading, self._replaced = True, 0
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

    def replace(self, slot: Slot, told: Told) -> bool:
        """Replace the worker of ``slot``, as it was asked for; ``told`` is called at the end. False
        if that one is being replaced already, or is given up."""
        if slot is self._active or slot in self._queue or slot.booting is not None:
            return False
        if slot.given_up:
            return False
        self._requested[slot] = time.monotonic(), told
        if slot.current is not None:
            _log.info("worker %d is to drain; another takes its place", slot.current.pid)
        self._queue.append(slot)
        self._next()
        return True

    def on_ready(self, slot: Slot) -> None:
        """A new worker serves ``slot``."""
        self._end_request(slot, "")
        if slot is self._active and not self._boots_anew(slot):
            self._active = None
            self._replaced += 1
            self._next()

    def on_boot_failed(self, slot: Slot, error: EpolloError) -> None:
        """A new worker of ``slot`` has not come to serve."""
        self._end_request(slot, str(error))
        if slot is not self._active or self._boots_anew(slot):
            return
        self._active = None
        if self._reloading:
            for other in self._queue:
                self._end_request(other, f"a reload was given up: {error}")
            self._queue.clear()
            _log.error("reload given up, the workers before go on: %s", error)
            self.results["given_up"] += 1
            self._end(str(error))
        else:
            _log.error("the worker before goes on: %s", error)
            self._recycle_at[slot] = time.monotonic() + slot.recycling_pause.after(0.0)
            self._next()

    def _next(self) -> None:
        while self._active is None and self._queue:
            slot = self._queue.popleft()
            if slot.booting is not None and self._has_begun_before(slot):
                self._active = slot
            elif self._is_replaceable(slot):
                self._active = slot
                self._pool.boot(slot)
            else:
                self._end_request(slot, "it is being replaced already, or given up")
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
        if not self._reloading or slot in self._requested:
            return True
        return worker.generation < self._pool.generation

    def _boots_anew(self, slot: Slot) -> bool:
        """The boot of a worker is over. If it has begun before the reload, boot another one."""
        anew = self._has_begun_before(slot)
        if anew:
            self._pool.boot(slot)
        return anew

    def _has_begun_before(self, slot: Slot) -> bool:
        """Has the last boot for ``slot`` begun before the reload that is under way?"""
        before = slot.generation < self._pool.generation
        return self._reloading and before and not slot.given_up

    def _end_request(self, slot: Slot, error: str) -> None:
        """The worker of ``slot`` is replaced, or is not going to be."""
        began, told = self._requested.pop(slot, (0.0, None))
        if told is not None:
            told(Outcome(int(not error), time.monotonic() - began, error))

    def _tell(self, error: str) -> None:
        """Call what waits for the end of the reload."""
        told, self._told = self._told, self._told_again
        self._told_again = []
        for each in told:
            each(Outcome(self._replaced, time.monotonic() - self._began, error))

    def _end(self, error: str = "") -> None:
        self._reloading, again = False, self._again
        self._again = False
        self._tell(error)
        if again:
            self.reload()
        else:
            self._reloaded()


def _workers(count: int) -> str:
    return counted(count, "worker")
