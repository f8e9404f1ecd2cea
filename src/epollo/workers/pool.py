"""The slots and their workers: forked, reaped, respawned and drained."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import deque
from functools import partial
from typing import Protocol

from epollo.causes import cause_of
from epollo.engine import EventLoop
from epollo.engine.timers import Timer
from epollo.errors import EpolloError, WorkerError
from epollo.workers.channel import Channel, Message, channel_pair
from epollo.workers.distributor import Distributor
from epollo.workers.passage import Passage
from epollo.workers.slot import Slot
from epollo.workers.sockets import Sockets
from epollo.workers.task import Task
from epollo.workers.worker import Stage, Worker, ending
from epollo.workers.worker_process import become_worker

KILL_SECONDS = 1.0
"""After the deadline of a worker, which enforces that itself: then it is killed."""

_log = logging.getLogger("epollo.supervisor")


class PoolEvents(Protocol):
    """What the pool tells the supervisor."""

    def on_ready(self, slot: Slot, worker: Worker) -> None:
        """``worker`` serves ``slot``."""

    def on_boot_failed(self, slot: Slot, error: EpolloError, lifetime: float) -> None:
        """A worker that was to serve ``slot`` has ended before it did."""

    def on_released(self, worker: Worker) -> None:
        """``worker`` has closed its listeners, or has ended."""


class Pool:
    """All slots and workers of one supervisor."""

    def __init__(
        self,
        loop: EventLoop,
        task: Task,
        sockets: Sockets,
        distributor: Distributor,
        events: PoolEvents,
    ) -> None:
        self.slots: list[Slot] = []
        self.generation: int = 0  # of the workers forked from now on: the reloads until now
        self._slot_of: dict[Worker, Slot] = {}  # of every worker that is not reaped
        self._due: deque[Slot] = deque()  # those for which to fork before the next turn
        self._stopping = False
        self._steered: list[int] | None = None
        self._loop = loop
        self._task = task
        self._settings = task.settings
        self._sockets = sockets
        self._distributor = distributor
        self._events = events

    @property
    def empty(self) -> bool:
        """Has every worker ended?"""
        return not self._slot_of

    @property
    def passages(self) -> list[Passage]:
        """Of the workers that serve."""
        return [slot.passage for slot in self.slots if slot.passage is not None]

    # ---- Slots

    def add_slot(self) -> None:
        """A further slot, whose socket is open; a worker boots for it."""
        slot = Slot(len(self.slots))
        self.slots.append(slot)
        self.boot(slot)
        self._steered = None
        self.steer()

    def steer(self) -> None:
        """New connections go to the slots whose workers accept them."""
        self._distributor.use(
            [slot.passage for slot in self.slots if slot.accepts and slot.passage is not None]
        )
        accepting = [slot.index for slot in self.slots if slot.accepts]
        if accepting != self._steered and not self._stopping:
            self._steered = accepting
            self._sockets.steer(accepting)

    # ---- Forking

    def boot(self, slot: Slot) -> None:
        """Fork a worker for ``slot`` when this turn of the loop is over."""
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None
        if slot not in self._due:
            self._due.append(slot)

    def respawn(self, slot: Slot, lifetime: float) -> None:
        """Boot a worker for ``slot``, whose last one has lived for ``lifetime`` seconds."""
        if slot.booting is not None or slot.timer is not None or self._stopping:
            return
        pause = slot.pause.after(lifetime)
        if not pause:
            self.boot(slot)
            return
        _log.warning("workers die young: the next one is started in %g s", pause)
        slot.timer = self._loop.call_later(pause, partial(self.boot, slot))

    def fork_due(self) -> None:
        """Fork what is due. Between two turns of the loop, so that the new process is in none."""
        while self._due:
            slot = self._due.popleft()
            if slot.booting is None and slot in self.slots and not self._stopping:
                try:
                    self._fork(slot)
                except OSError as error:
                    failure = WorkerError(f"cannot start a worker: {cause_of(error)}")
                    self._events.on_boot_failed(slot, failure, 0.0)

    def _fork(self, slot: Slot) -> None:
        ours, theirs = channel_pair()
        try:
            passage = self._distributor.new_passage()
        except OSError:
            ours.close()
            theirs.close()
            raise
        sockets = self._sockets.of(slot.index)
        for stream in (sys.stdout, sys.stderr):  # or both processes would write what is buffered
            if stream is not None:
                stream.flush()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                give_up = partial(self._give_up, slot.index, ours, passage)
                pair = None if passage is None else passage.theirs
                become_worker(self._task, sockets, pair, theirs, give_up)
        except OSError:
            ours.close()
            if passage is not None:
                passage.end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        if passage is not None:
            self._distributor.add(passage)
        self._add(slot, Worker(pid, self.generation, ours, passage))

    def _give_up(self, index: int, ours: Channel, passage: Passage | None) -> None:
        """In a new worker: close what belongs to the supervisor and to other workers. While another
        process holds an end of a channel, or a listener, its close would not be seen."""
        ours.close()
        for worker in self._slot_of:
            worker.close_channel()
        self._distributor.give_up(passage)
        self._sockets.close_other_slots(index)

    def _add(self, slot: Slot, worker: Worker) -> None:
        self._slot_of[worker] = slot
        slot.booting = worker
        worker.watch(self._loop, self._on_message)
        if self._settings.boot_timeout:
            self._loop.call_later(self._settings.boot_timeout, partial(self._end_boot, worker))
        _log.debug("worker %d boots", worker.pid)

    def _end_boot(self, worker: Worker) -> None:
        if worker.stage is Stage.BOOTING and worker in self._slot_of:
            self.kill(
                worker, f"did not serve within boot_timeout, {self._settings.boot_timeout:g} s"
            )

    # ---- What workers say

    def _on_message(self, worker: Worker, message: Message) -> None:
        values = message.values
        match message.kind:
            case "ready":
                self._on_ready(worker, values["line"])
            case "failed":
                worker.fail(values["text"], values["error"], values["traceback"])
            case "alive":
                self._on_alive(worker, values["messages"])
            case "stopping":
                self._on_stopping(worker)
            case "released":
                self._events.on_released(worker)

    def _on_ready(self, worker: Worker, line: str) -> None:
        slot = self._slot_of[worker]
        worker.ready_line = line
        before = slot.promote(worker)
        _log.info("worker %d serves", worker.pid)
        if self._stopping:
            self.drain(worker, "all")
            return
        if before is not None:
            self.drain(before, "none")
        self.steer()
        self._events.on_ready(slot, worker)

    def _on_alive(self, worker: Worker, messages: int | None) -> None:
        worker.unanswered = 0
        worker.messages = messages or 0
        self.steer()

    def _on_stopping(self, worker: Worker) -> None:
        """Someone else has sent it SIGTERM."""
        slot = self._slot_of[worker]
        if worker.stage is not Stage.SERVING:
            return
        worker.stage = Stage.DRAINING
        slot.remove(worker)
        self._kill_after(worker, self._settings.graceful_timeout)
        if not self._stopping:
            _log.info("worker %d was told to stop; another takes its place", worker.pid)
            self.steer()
            self.respawn(slot, worker.age)

    # ---- The ends of workers

    def reap(self) -> None:
        """Look which workers have ended."""
        for worker in list(self._slot_of):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._on_end(worker, status)
        if os.getpid() == 1:  # in a container: orphans of workers are this process's children
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        workers = {worker.pid for worker in self._slot_of}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in workers:  # a worker: SIGCHLD comes for it too
                return
            os.waitpid(ended.si_pid, 0)

    def _on_end(self, worker: Worker, status: int) -> None:
        worker.receive_last()
        slot, stage = self._slot_of.pop(worker), worker.stage
        slot.remove(worker)
        if worker.passage is not None:
            self._distributor.ended(worker.passage)
        self.steer()
        how = worker.kill_reason or ending(status)
        if stage is Stage.DRAINING:
            level = logging.WARNING if status else logging.INFO
            _log.log(level, "worker %d %s", worker.pid, how if status else "has drained")
        elif self._stopping:
            _log.debug("worker %d %s", worker.pid, how)
        elif stage is Stage.SERVING:
            _log.error("worker %d %s; another takes its place", worker.pid, how)
            self.respawn(slot, worker.age)
        else:
            error = worker.failure or WorkerError(f"worker {worker.pid} {how}, before it served")
            self._events.on_boot_failed(slot, error, worker.age)
        self._events.on_released(worker)

    def drain(self, worker: Worker, queued: str) -> None:
        """Let ``worker`` stop, and kill it if it has not ended after the grace. ``queued`` says
        whether it accepts before that what is in its accept queues: all, or none."""
        self._slot_of[worker].remove(worker)
        worker.stage = Stage.DRAINING
        grace = self._settings.graceful_timeout
        worker.send("drain", grace=grace, queued=queued)
        self._kill_after(worker, grace)

    def stop(self) -> None:
        """Let every worker stop; those that boot end at once. No other is forked."""
        self._stopping = True
        self._due.clear()
        for slot in self.slots:
            if slot.timer is not None:
                slot.timer.cancel()
        for worker in list(self._slot_of):
            if worker.stage is Stage.SERVING:
                self.drain(worker, "all")
            elif worker.stage is Stage.BOOTING:
                worker.kill(signal.SIGTERM)
                self._kill_after(worker, self._settings.graceful_timeout)

    def abort(self) -> None:
        """Every worker stops at once."""
        for worker in self._slot_of:
            worker.send("abort")
            self._kill_after(worker, 0.0)

    def kill_all(self) -> None:
        """Every worker ends, whatever it does."""
        for worker in self._slot_of:
            worker.kill(signal.SIGKILL)

    def kill(self, worker: Worker, reason: str) -> None:
        """Kill ``worker``; its traceback goes to stderr."""
        worker.kill(signal.SIGABRT, f"was killed: it {reason}")
        self._loop.call_later(KILL_SECONDS, partial(self._kill_now, worker, ""))

    def _kill_after(self, worker: Worker, grace: float) -> Timer:
        kill = partial(self._kill_now, worker, "was killed: it did not stop within the grace")
        return self._loop.call_later(grace + KILL_SECONDS, kill)

    def _kill_now(self, worker: Worker, reason: str) -> None:
        if worker in self._slot_of:
            worker.kill(signal.SIGKILL, reason)
