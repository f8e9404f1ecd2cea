"""One slot: a place among the workers, with its sockets, which outlives the workers in it."""

from __future__ import annotations

from epollo.engine.timers import Timer
from epollo.workers.passage import Passage
from epollo.workers.respawn import RespawnPause
from epollo.workers.worker import Stage, Worker


class Slot:
    """The slot at ``index``. It has at most one worker that serves, and one that boots to take its
    place; workers that drain have left it."""

    def __init__(self, index: int) -> None:
        self.index: int = index
        self.current: Worker | None = None
        self.booting: Worker | None = None
        self.generation: int = 0  # of the last worker that was forked for it, or should have been
        self.pause: RespawnPause = RespawnPause()
        self.recycling_pause: RespawnPause = RespawnPause()
        self.timer: Timer | None = None  # until the next fork, while there is no worker
        self.given_up: bool = False

    @property
    def accepts(self) -> bool:
        """Does a worker accept the new connections of this slot, without delay?"""
        worker = self.current
        return worker is not None and worker.unanswered < 2 and not self.given_up

    @property
    def passage(self) -> Passage | None:
        """The way of connections to the worker, if the supervisor accepts any."""
        return None if self.current is None else self.current.passage

    def promote(self, worker: Worker) -> Worker | None:
        """``worker`` has booted and serves from now on; returns the one that it replaces."""
        before, self.current = self.current, worker
        self.booting = None
        worker.stage = Stage.SERVING
        return before

    def remove(self, worker: Worker) -> None:
        """``worker`` has ended, or has begun to drain."""
        if self.current is worker:
            self.current = None
        if self.booting is worker:
            self.booting = None
