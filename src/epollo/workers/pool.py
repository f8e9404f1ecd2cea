"""The slots and their workers: forked, reaped, respawned and drained."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import NoReturn, Protocol

from epollo.causes import cause_of
from epollo.control.inquirer import Values
from epollo.engine import EventLoop
from epollo.engine.timers import Timer
from epollo.errors import EpolloError, WorkerError
from epollo.logs.logger import logger
from epollo.server.shared_counts import Cell, SharedCounts, counts_for
from epollo.workers.channel import Channel, Message, channel_pair
from epollo.workers.distributor import Distributor
from epollo.workers.inherited import Inherited
from epollo.workers.link import PeerLink
from epollo.workers.passage import Passage
from epollo.workers.processes import Processes
from epollo.workers.slot import Slot
from epollo.workers.sockets import Sockets
from epollo.workers.task import Task
from epollo.workers.worker import Stage, Worker, end_cause, ending
from epollo.workers.worker_process import become_worker

KILL_SECONDS = 1.0
"""After the deadline of a worker, which enforces that itself: then it is killed."""

_log = logger("epollo.supervisor")


class PoolEvents(Protocol):
    """What the pool tells the supervisor."""

    def on_ready(self, slot: Slot, worker: Worker) -> None:
        """``worker`` serves ``slot``."""

    def on_boot_failed(self, slot: Slot, error: EpolloError, lifetime: float) -> None:
        """A worker that was to serve ``slot`` has ended before it did."""

    def on_released(self, worker: Worker) -> None:
        """``worker`` has closed its listeners, or has ended."""

    def on_forked(self) -> None:
        """In a new worker: this process is no supervisor any more."""

    def on_rows(self, worker: Worker, number: int, rows: list[Values]) -> None:
        """``worker`` tells a part of its answer to a question."""

    def on_answer(self, worker: Worker, number: int, values: Values) -> None:
        """``worker`` has answered a question."""

    def on_ended(self, slot: Slot, worker: Worker, cause: str) -> None:
        """``worker`` of ``slot`` has ended, and is reaped; ``cause`` is one of `END_CAUSES`."""


class Pool:
    """All slots and workers of one supervisor."""

    def __init__(
        self,
        loop: EventLoop,
        task: Task,
        sockets: Sockets,
        distributor: Distributor,
        processes: Processes,
        events: PoolEvents,
    ) -> None:
        self.slots: list[Slot] = []
        self.generation: int = 0  # of the workers forked from now on: the reloads until now
        self.not_for_workers: list[Channel] = []  # channels of the supervisor to other supervisors
        self.steering: bool = True  # false once another supervisor decides
        self._slot_of: dict[Worker, Slot] = {}  # of every worker that is not reaped
        self._due: deque[Slot] = deque()  # those for which to fork before the next turn
        self.stopping: bool = False  # no other worker is forked
        self.stop_signalled: bool = False  # to the supervisor: perhaps to the workers as well
        self._signals = 0  # those to stop, of the supervisor
        self._delay = 0.0  # seconds, while the stop is delayed
        self._steered: list[int] | None = None
        self._loop = loop
        self._task = task
        self._settings = task.settings
        self._sockets = sockets
        self._distributor = distributor
        self._processes = processes
        self._events = events
        self._counts = counts_for(task.settings)

    @property
    def over(self) -> bool:
        """Has every worker ended, since all were to stop?"""
        return self.stopping and not self._slot_of

    def workers(self) -> list[tuple[Worker, int]]:
        """Every worker that is not reaped, with the index of its slot, which it may have left."""
        return [(worker, slot.index) for worker, slot in self._slot_of.items()]

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
        self.steer_anew()

    def steer_anew(self) -> None:
        """As `steer`, though the slots are the same: their sockets, or the groups, are not."""
        self._steered = None
        self.steer()

    def steer(self) -> None:
        """New connections go to the slots whose workers accept them."""
        self._distributor.use(
            [slot.passage for slot in self.slots if slot.accepts and slot.passage is not None]
        )
        accepting = [slot.index for slot in self.slots if slot.accepts]
        if accepting != self._steered and self.steering:
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

    def boot_anew(self) -> None:
        """Workers that boot have begun with code that has changed since: let others boot."""
        for worker in self._slot_of:
            if worker.stage is Stage.BOOTING:
                worker.outdated = True
                worker.kill(signal.SIGKILL)

    def respawn(self, slot: Slot, lifetime: float) -> None:
        """Boot a worker for ``slot``, whose last one has lived for ``lifetime`` seconds."""
        awaited = slot.booting is not None or slot.timer is not None or slot in self._due
        if awaited or self.stopping:
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
            if slot.booting is None and slot in self.slots and not self.stopping:
                slot.generation = self.generation
                try:
                    self._fork(slot)
                except OSError as error:
                    failure = WorkerError(f"cannot start a worker: {cause_of(error)}")
                    self._events.on_boot_failed(slot, failure, 0.0)

    def _fork(self, slot: Slot) -> None:
        for stream in (sys.stdout, sys.stderr):  # or both processes would write what is buffered
            if stream is not None:
                stream.flush()
        cell = None if self._counts is None else self._take_cell(self._counts)
        with ExitStack() as passed, ExitStack() as kept:  # closed here; closed here on failure
            if cell is not None:
                kept.callback(self._release_cell, cell)
            ours, theirs = channel_pair()
            kept.callback(ours.close)
            passed.callback(theirs.close)
            links = []
            for worker in self._slot_of:
                one, other = socket.socketpair()
                links.append((worker, kept.enter_context(one), passed.enter_context(other)))
            passage = self._distributor.new_passage()
            if passage is not None:
                kept.callback(passage.end)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                pid = os.fork()
                if not pid:
                    self._become_worker(slot.index, ours, theirs, links, cell, passage)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            kept.pop_all()
        for worker, end, _ in links:
            worker.give("link", end, worker=pid)
        if passage is not None:
            self._distributor.add(passage)
        self._add(slot, Worker(pid, self.generation, ours, cell, passage))

    def _take_cell(self, counts: SharedCounts) -> int | None:
        cell = counts.take()
        if cell is None:
            _log.warning("too many workers: one more counts its connections for itself")
        return cell

    def _release_cell(self, cell: int) -> None:
        if self._counts is not None:
            self._counts.release(cell)

    def _become_worker(
        self,
        index: int,
        ours: Channel,
        theirs: Channel,
        links: list[tuple[Worker, socket.socket, socket.socket]],
        cell: int | None,
        passage: Passage | None,
    ) -> NoReturn:
        """In the new process. Of each link the other worker gets the first end."""
        inherited = Inherited(
            self._sockets.of(index),
            None if passage is None else passage.theirs,
            theirs,
            [PeerLink(end, worker.pid, awaited=worker.answers) for worker, _, end in links],
            None if cell is None or self._counts is None else Cell(self._counts, cell),
        )
        others = [end for _, end, _ in links]
        give_up = partial(self._give_up, index, ours, others, passage)
        begin = partial(self._processes.become_worker, index)
        become_worker(self._task, inherited, give_up, begin)

    def _give_up(
        self, index: int, ours: Channel, others: list[socket.socket], passage: Passage | None
    ) -> None:
        """In a new worker: close what belongs to the supervisor and to other workers. While another
        process holds an end of a channel, or a listener, its close would not be seen."""
        for channel in (ours, *self.not_for_workers):
            channel.close()
        for end in others:
            end.close()
        for worker in self._slot_of:
            worker.close_channel()
        self._distributor.give_up(passage)
        self._sockets.close_other_slots(index)
        self._events.on_forked()

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
            case "rows":
                self._events.on_rows(worker, values["number"], values["rows"])
            case "answer":
                if values["question"] == "figures":
                    worker.keep(values["values"])
                self._events.on_answer(worker, values["number"], values["values"])
            case "figures":
                worker.keep(values["values"])

    def _on_ready(self, worker: Worker, line: str) -> None:
        slot = self._slot_of[worker]
        worker.ready_line = line
        before = slot.promote(worker)
        _log.info("worker %d serves", worker.pid)
        if self.stopping:
            self._stop_worker(worker)
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
        if worker.stage is not Stage.SERVING or self.stopping or self.stop_signalled:
            return
        worker.stage = Stage.DRAINING
        slot.remove(worker)
        self._kill_after(worker, self._settings.drain_delay + self._settings.graceful_timeout)
        _log.info("worker %d was told to stop; another takes its place", worker.pid)
        self.steer()
        worker.send("may_close")
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
        if worker.cell is not None:
            self._release_cell(worker.cell)
        for other in self._slot_of:
            other.send("unlink", worker=worker.pid)
        slot.remove(worker)
        if worker.passage is not None:
            self._distributor.ended(worker.passage)
        self.steer()
        how = worker.kill_reason or ending(status)
        if stage is Stage.DRAINING:
            level = logging.WARNING if status else logging.INFO
            _log.log(level, "worker %d %s", worker.pid, how if status else "has drained")
        elif worker.outdated and not self.stopping:  # it may have begun to serve, just before
            self.boot(slot)
        elif stage is Stage.SERVING:
            successor = "" if self.stopping else "; another takes its place"
            _log.error("worker %d %s%s", worker.pid, how, successor)
            self.respawn(slot, worker.age)
        elif self.stopping:
            _log.debug("worker %d %s", worker.pid, how)
        else:
            error = worker.failure or WorkerError(f"worker {worker.pid} {how}, before it served")
            self._events.on_boot_failed(slot, error, worker.age)
        self._events.on_released(worker)
        self._events.on_ended(slot, worker, end_cause(worker, status))

    def drain(self, worker: Worker, queued: str | list[int], *, quick: bool = False) -> None:
        """Let ``worker`` stop, and kill it if it has not ended after the grace. ``queued`` says
        whether it accepts before that what is in its accept queues: all, or none; or which, by the
        indices of their sockets. If ``quick``, without a quiet period."""
        self._slot_of[worker].remove(worker)
        worker.stage = Stage.DRAINING
        grace = self._settings.graceful_timeout
        self._send_drain(worker, queued, quick=quick)
        self._kill_after(worker, grace)

    def _send_drain(
        self,
        worker: Worker,
        queued: str | list[int],
        *,
        delay: float = 0.0,
        quick: bool = False,
    ) -> None:
        worker.send(
            "drain",
            grace=self._settings.graceful_timeout,
            queued=queued,
            delay=delay,
            quick=quick,
            signals=self._signals,
        )

    def accept_last(self, most: int) -> None:
        """Accept what is in the supervisor's own accept queues, up to ``most`` from each, and then
        no more. `retire` and `drain_all` pass it on."""
        self._distributor.accept_last(most)

    def retire(self, queued: Callable[[int], list[int]]) -> None:
        """Let every worker stop, since those of another supervisor serve. ``queued`` says for the
        index of a slot of which sockets its worker accepts what is in the queues."""
        self.stop(0.0, self._signals)

        def drain() -> None:
            for worker, slot in list(self._slot_of.items()):
                if worker.stage is Stage.SERVING:
                    self.drain(worker, queued(slot.index))

        self._distributor.pass_last(self.passages, drain)

    def stop(self, delay: float, signals: int) -> None:
        """Fork no more, and end the workers that boot; those that serve go on for ``delay``
        seconds, until `drain_all`. ``signals``: how many to stop the supervisor has had."""
        self.stopping, self._delay, self._signals = True, delay, signals
        self._due.clear()
        for slot in self.slots:
            if slot.timer is not None:
                slot.timer.cancel()
        for worker in list(self._slot_of):
            if worker.stage is Stage.BOOTING:
                worker.kill(signal.SIGTERM)
                self._kill_after(worker, delay + self._settings.graceful_timeout)
            elif delay and worker.stage is Stage.SERVING:
                self._stop_worker(worker)

    def _stop_worker(self, worker: Worker) -> None:
        """``worker`` serves when the stop begins, or comes to serve later. During a delay it stays
        in its slot."""
        if self._delay:
            self._send_drain(worker, "all", delay=self._delay)
        else:
            self.drain(worker, "all")

    def drain_all(self, signals: int, queued: str = "all", *, quick: bool = False) -> None:
        """Let every worker drain. Those that drain already are told too: one may still be in a
        delay, and if ``quick``, all are to be. ``queued`` as for `drain`."""
        self._delay, self._signals = 0.0, signals

        def drain() -> None:
            for worker in list(self._slot_of):
                if worker.stage is not Stage.BOOTING:
                    self.drain(worker, queued, quick=quick)

        self._distributor.pass_last(self.passages, drain)

    def reopen_logs(self) -> None:
        """Tell every worker to open its log files anew."""
        for worker in self._slot_of:
            worker.send("reopen_logs")

    def abort(self, signals: int) -> None:
        """Every worker stops at once."""
        for worker in self._slot_of:
            worker.send("abort", signals=signals)
            self._kill_after(worker, 0.0)

    def kill_all(self) -> None:
        """Every worker ends, whatever it does. In a signal handler: one may be reaped already."""
        for worker in self._slot_of:
            with suppress(ProcessLookupError):
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
