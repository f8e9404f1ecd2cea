"""The supervisor: one small process that owns the listening sockets, and starts, watches and
replaces the workers that serve.

It runs no code of the application and starts no thread, so each fork of it is as good as the first:
a worker that is forked later imports the application as it is then.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from types import FrameType
from typing import Any

from epollo import address
from epollo.control.inquirer import Values
from epollo.control.operations import Done
from epollo.descriptors import all_descriptors
from epollo.engine import new_loop
from epollo.errors import EpolloError, SettingError, UsageError
from epollo.logs.files import reopen_log_files
from epollo.logs.logger import logger
from epollo.server.admin import Admin
from epollo.server.listeners import binds_or_systemd_sockets
from epollo.server.notices import Notices
from epollo.server.signals import signal_wakeup
from epollo.workers.distributor import Distributor
from epollo.workers.file_watcher import FileWatcher
from epollo.workers.handover import Handover
from epollo.workers.heartbeat import Heartbeat
from epollo.workers.inheritance import inheritance
from epollo.workers.inquiry import Inquiries
from epollo.workers.operations import SupervisorOperations
from epollo.workers.pool import Pool
from epollo.workers.processes import Processes
from epollo.workers.replacement import Outcome, Replacements
from epollo.workers.scaling import Scaling
from epollo.workers.shutdown import Shutdown
from epollo.workers.slot import Slot
from epollo.workers.sockets import Sockets
from epollo.workers.task import Task
from epollo.workers.totals import Totals
from epollo.workers.watched import WatchedWorkers
from epollo.workers.worker import Worker

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGCHLD,
)

TOTALS_SECONDS = 1.0
"""From one message with what was counted to the next, to the supervisor that has taken over."""

_log = logger("epollo.supervisor")


class Supervisor:
    """Serves a task with the workers that its settings ask for, until SIGINT or SIGTERM.

    With ``watched``, directories, it is for development: when a .py file in them changes, it
    reloads. If a worker does not boot, it waits for the next change.
    """

    def __init__(self, task: Task, *, bind_given: bool, watched: Sequence[str] = ()) -> None:
        if sys.platform != "linux":
            raise UsageError("workers: there are none on this system, only on Linux; leave it out")
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("workers: their supervisor handles signals; run it in the main thread")
        self._settings = task.settings
        self._task = task
        binds = address.parse_all(task.settings.bind)
        self._processes = Processes(task.settings)
        self._watcher = FileWatcher(watched) if watched else None
        # From here on, a supervisor that waits for this one is told by this one that it fails.
        self._inheritance = inheritance()
        passed = address.activated() if self._inheritance is None else self._inheritance.systemd
        binds = binds_or_systemd_sockets(binds, passed, bind_given=bind_given)
        # The engine to read: nothing here depends on speed.
        self._loop = new_loop("python", "auto")
        self._sockets = Sockets(task.settings, binds)
        self._distributor = Distributor(self._loop)
        self._pool = Pool(self._loop, task, self._sockets, self._distributor, self._processes, self)
        self._replacements = Replacements(self._pool, task, self._on_reloaded)
        self._totals = Totals(self._pool, self._replacements)
        self._watched = WatchedWorkers(
            self._pool,
            self._totals,
            self._is_ready,
            lambda: self._announced,
            self._tell_totals,
        )
        self._admin: Admin | None = None
        self._inquiries = Inquiries(self._loop, self._pool)
        self._scaling = Scaling(self._loop, self._pool, self._sockets, task.settings.workers)
        systemd = [each.fd for each in passed if each.fd is not None]
        self._handover: Handover = Handover(
            self._loop,
            task.settings,
            self._pool,
            self._sockets,
            self._distributor,
            self._describe_metrics,
            systemd,
            self,
            lambda: None if self._admin is None else self._admin.control,
        )
        self._handover_asked = False
        self._owned = False  # what was inherited is this supervisor's
        self._held: list[int] = []  # signals to act on when another supervisor has come or gone
        self._notices = Notices()
        self._ready_line = ""
        self._announced = False  # that all serve
        self._shutdown = Shutdown(
            self._loop,
            task.settings,
            self._pool,
            self._sockets,
            self._handover,
            self._notices.stopping,
        )
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve until all workers have drained. Raises BindError, and the error of a worker that
        does not boot; but once all have served, that is only logged."""
        try:
            self._task.load_certificates()
            if self._watcher is not None:
                self._watcher.start()
            self._sockets.open(self._settings.workers, self._inheritance)
            self._distributor.listen(self._sockets.exact)
            self._open_admin()
            self._processes.begin([*self._sockets.files, *self._admin_files])
            if self._inheritance is None:
                self._processes.write_pid_file()
            gc.collect()
            gc.freeze()  # pages without garbage to collect stay shared with the workers
            with all_descriptors(), self._signals(), signal_wakeup(self._loop):
                self._serve()
        except EpolloError as error:
            self._refuse(error)
            raise
        finally:
            gc.unfreeze()
            if self._watcher is not None:
                self._watcher.close()
            if self._admin is not None:
                self._admin.close()
            self._distributor.close()
            self._sockets.close()
            self._processes.end()
            self._loop.close()
        if self._failure is not None:
            raise self._failure

    def _open_admin(self) -> None:
        """If there is a supervisor before, that one answers until it has handed over."""
        handed, settings = self._inheritance, self._settings
        operations = SupervisorOperations(
            self, self._pool, self._replacements, self._scaling, self._totals
        )
        self._admin = Admin(
            self._loop,
            settings,
            self._inquiries,
            self._watched,
            operations,
            _none if handed is None else handed.metrics_for(settings.metrics),
            None if handed is None else handed.take_control(settings.control),
        )
        if handed is None:
            self._admin.begin()
            return
        sock = self._admin.metrics_socket
        self._admin.leave_file = handed.shares_metrics(-1 if sock is None else sock.socket.fileno())

    @property
    def _admin_files(self) -> list[str]:
        return [] if self._admin is None else self._admin.files

    def _describe_metrics(self) -> dict[str, Any] | None:
        """A copy of the socket of the metrics, for another supervisor (`InheritedListener`): a
        process that is forked here loses the socket itself (`EventLoop.begin`)."""
        bound = None if self._admin is None else self._admin.metrics_socket
        if bound is None:
            return None
        file = bound.file and astuple(bound.file)
        bind, fds = self._settings.metrics, [os.dup(bound.socket.fileno())]
        return {"bind": bind, "place": 0, "fds": fds, "file": file}

    def _is_ready(self) -> bool:
        """Do the workers serve, with no end in sight?"""
        borrowed = self._inheritance is not None and not self._owned
        return self._announced and not (self._shutdown.asked or self._handover.done or borrowed)

    def _serve(self) -> None:
        for _ in range(self._settings.workers):
            self._pool.add_slot()
        Heartbeat(self._loop, self._settings, self._pool, self._replacements.recycle)
        if self._watcher is not None:
            self._watcher.watch(self._loop, self._on_change, self._fail)
        if self._inheritance is not None:
            self._pool.not_for_workers.append(self._inheritance.channel)
            self._inheritance.watch(
                self._loop, self._on_owned, self._on_alone, self._totals.of_before
            )
        while not (self._pool.over and (self._handover.done or not self._handover.running)):
            self._begin_handover()
            if self._watcher is None or self._watcher.ready:
                self._pool.fork_due()
            self._loop.poll()
        self._handover.tell_last(self._totals.tellable)

    def _tell_again(self) -> None:
        """Tell the totals now, and again and again."""
        self._loop.call_later(TOTALS_SECONDS, self._tell_again)
        self._tell_totals()

    def _tell_totals(self) -> None:
        """Tell the supervisor that has taken over, if one has."""
        if self._handover.done:
            self._handover.tell_totals(self._totals.tellable)

    # ---- What the pool tells

    def on_ready(self, slot: Slot, worker: Worker) -> None:
        self._scaling.on_ready(slot)
        self._replacements.on_ready(slot)
        if not self._announced and all(each.current for each in self._pool.slots):
            self._announced = True
            self._ready_line = worker.ready_line
            if self._inheritance is None:
                self._announce()
            else:
                self._inheritance.claim()

    def _announce(self) -> None:
        """All workers serve."""
        self._notices.begin(self._loop, self._ready_line)
        try:
            print(self._ready_line, flush=True)
        except OSError as error:  # the reader of our output has exited, or its disk is full
            self._fail(error)

    def on_boot_failed(self, slot: Slot, error: EpolloError, lifetime: float) -> None:
        if self._watcher is not None:
            self._wait_for_change(slot, error)
            return
        if not self._announced:
            self._fail(error)
            return
        self._replacements.on_boot_failed(slot, error)
        if self._scaling.on_boot_failed(slot) or slot.current is not None:
            return
        _log.error("a worker does not boot: %s", error)
        self._pool.respawn(slot, lifetime)

    def on_released(self, worker: Worker) -> None:
        self._scaling.on_released(worker)

    def on_rows(self, worker: Worker, number: int, rows: list[Values]) -> None:
        self._inquiries.on_rows(worker, number, rows)

    def on_answer(self, worker: Worker, number: int, values: Values) -> None:
        self._inquiries.on_answer(worker, number, values)

    def on_ended(self, slot: Slot, worker: Worker, cause: str) -> None:
        self._totals.end(slot.index, worker.figures, cause)
        self._inquiries.on_ended(worker)

    def _on_reloaded(self) -> None:
        self._notices.ready(self._ready_line.removeprefix("epollo: "))

    def on_forked(self) -> None:
        if self._watcher is not None:
            self._watcher.give_up()
        if self._admin is not None:
            self._admin.give_up()

    # ---- What the control socket asks for

    @property
    def ready_line(self) -> str:
        return self._ready_line

    @property
    def stopping(self) -> bool:
        return self._shutdown.asked

    @property
    def before(self) -> int | None:
        handed = self._inheritance
        return None if handed is None or handed.over else handed.pid

    @property
    def busy_with(self) -> str:
        before = self._inheritance
        if self._handover.booting:
            return "another supervisor is about to take over"
        if before is not None and not before.over:
            return "the supervisor before has not ended yet"
        return ""

    def stop(self) -> None:
        self._shutdown.ask(self._settings.drain_delay)

    def reload(self, done: Done) -> None:
        def tell(outcome: Outcome) -> None:
            if outcome.error:
                done({"error": f"reload given up: {outcome.error}"})
            else:
                seconds = round(outcome.seconds, 3)
                done({"replaced": outcome.replaced, "seconds": seconds})

        self._notices.reloading()
        self._replacements.reload(tell)

    # ---- Development

    def _on_change(self, files: list[str]) -> None:
        if not self._shutdown.asked:
            _log.info("changed: %s", ", ".join(files))
            self._pool.boot_anew()
            self._replacements.reload()

    def _wait_for_change(self, slot: Slot, error: EpolloError) -> None:
        """A worker has not booted."""
        if error.__cause__ is not None:
            print(str(error.__cause__).strip("\n"), file=sys.stderr)
        self._replacements.on_boot_failed(slot, error)
        if not self._scaling.on_boot_failed(slot) and slot.current is None:
            _log.error("a worker does not boot; waiting for a change: %s", error)

    # ---- The supervisor before

    def _on_owned(self) -> None:
        """It has handed over, or has ended."""
        self._owned = True
        if not self._shutdown.asked:
            self._sockets.own()
            try:
                self._processes.write_pid_file()
            except SettingError as error:
                _log.error("%s", error)
            self._pool.steer_anew()
            if self._admin is not None:
                self._admin.begin()
            self._announce()

    def _on_alone(self) -> None:
        """It has ended, and all its workers."""
        self._totals.before_ended()
        _log.info("the supervisor before has ended")
        self._sockets.alone = True
        self._pool.steer_anew()
        self._act_on_held()

    def _refuse(self, error: BaseException) -> None:
        if self._inheritance is not None:
            self._inheritance.refuse(" ".join(str(error).split()))

    # ---- The supervisor after

    def _ask_handover(self) -> None:
        if os.getpid() == 1:
            _log.error("no handover: the end of process 1 would end the container; send SIGHUP")
        elif self._handover.running:
            _log.warning("no second handover: the process of the last one has not ended")
        else:
            self._handover_asked = True

    def _begin_handover(self) -> None:
        """Begin one that was asked for, unless there is something to wait for."""
        before = self._inheritance
        if not self._handover_asked or self._shutdown.asked or not self._announced:
            return
        if self._replacements.busy or self._scaling.busy or (before and not before.over):
            return
        self._handover_asked = False
        self._notices.reloading()
        self._handover.begin()

    def on_handover_failed(self, why: str) -> None:
        _log.error("no handover, this supervisor goes on: %s", why)
        self._on_reloaded()
        self._act_on_held()

    def on_handed_over(self, pid: int, *, control: bool) -> None:
        _log.info("process %d serves in place of this supervisor, which drains and ends", pid)
        self._processes.end()  # the new one writes its own pid file when it hears of it
        self._notices.hand_over(pid)
        if self._admin is not None:
            self._admin.hand_over(control=control)
        self._tell_again()
        self._act_on_held()

    def _act_on_held(self) -> None:
        held, self._held = self._held, []
        for number in held:
            self._act(number)

    def _must_wait(self, number: int) -> bool:
        """While there are two supervisors, their groups of sockets stay as they are."""
        before = self._inheritance
        scales = number in (signal.SIGTTIN, signal.SIGTTOU)
        return self._handover.booting or (scales and before is not None and not before.over)

    # ---- Signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._shutdown.note_signal(number)
        self._loop.call_threadsafe(partial(self._act, number))

    def _act(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._pool.reap()
            self._handover.reap()
        elif number == signal.SIGTERM:
            self._shutdown.on_sigterm()
        elif number == signal.SIGINT:
            self._shutdown.ask(quick=True)
        elif number == signal.SIGUSR1:
            self._reopen_logs()
        elif self._shutdown.asked:
            pass
        elif self._handover.done:
            self._handover.signal(number)
        elif number == signal.SIGUSR2:
            self._ask_handover()
        elif self._must_wait(number):
            self._held.append(number)
        else:
            self._change(number)

    def _reopen_logs(self) -> None:
        """Here, in the workers, and in the supervisor that has taken over."""
        reopen_log_files()
        self._pool.reopen_logs()
        if self._handover.done:
            self._handover.signal(signal.SIGUSR1)

    def _change(self, number: int) -> None:
        match number:
            case signal.SIGHUP:
                self._notices.reloading()
                self._replacements.reload()
            case signal.SIGTTIN:
                self._scaling.change(1)
            case signal.SIGTTOU:
                self._scaling.change(-1)

    def _fail(self, error: BaseException) -> None:
        """It cannot serve: end all, and raise the first error."""
        self._refuse(error)
        if self._failure is None:
            self._failure = error
            if not self._shutdown.asked:
                self._shutdown.ask(quick=True)


def _none(sockaddr: Any) -> None:
    """No socket is inherited."""
