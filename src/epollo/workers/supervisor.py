"""The supervisor: one small process that owns the listening sockets, and starts, watches and
replaces the workers that serve.

It runs no code of the application and starts no thread, so each fork of it is as good as the first:
a worker that is forked later imports the application as it is then.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from epollo import address
from epollo.descriptors import all_descriptors
from epollo.engine import new_loop
from epollo.errors import EpolloError, UsageError
from epollo.server.listeners import binds_or_systemd_sockets
from epollo.server.signals import signal_wakeup
from epollo.workers.distributor import Distributor
from epollo.workers.heartbeat import Heartbeat
from epollo.workers.pool import Pool
from epollo.workers.replacement import Replacements
from epollo.workers.scaling import Scaling
from epollo.workers.slot import Slot
from epollo.workers.sockets import Sockets
from epollo.workers.task import Task
from epollo.workers.worker import Worker

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)

_log = logging.getLogger("epollo.supervisor")


class Supervisor:
    """Serves a task with the workers that its settings ask for, until SIGINT or SIGTERM."""

    def __init__(self, task: Task, *, bind_given: bool) -> None:
        if sys.platform != "linux":
            raise UsageError("workers: there are none on this system, only on Linux; leave it out")
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("workers: their supervisor handles signals; run it in the main thread")
        self._settings = task.settings
        self._task = task
        binds = address.parse_all(task.settings.bind)
        binds = binds_or_systemd_sockets(binds, bind_given=bind_given)
        # The engine to read: nothing here depends on speed.
        self._loop = new_loop("python", "auto")
        self._sockets = Sockets(task.settings, binds)
        self._distributor = Distributor(self._loop)
        self._pool = Pool(self._loop, task, self._sockets, self._distributor, self)
        self._replacements = Replacements(self._pool, task)
        self._scaling = Scaling(self._loop, self._pool, self._sockets, task.settings.workers)
        self._announced = False  # that all serve
        self._stops = 0  # signals that ask for a stop
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve until all workers have drained. Raises BindError, and the error of a worker that
        does not boot; but once all have served, that is only logged."""
        try:
            self._task.load_certificates()
            self._sockets.open(self._settings.workers)
            self._distributor.listen(self._sockets.exact)
            gc.collect()
            gc.freeze()  # pages without garbage to collect stay shared with the workers
            with all_descriptors(), self._signals(), signal_wakeup(self._loop):
                self._serve()
        finally:
            gc.unfreeze()
            self._distributor.close()
            self._sockets.close()
            self._loop.close()
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        for _ in range(self._settings.workers):
            self._pool.add_slot()
        Heartbeat(self._loop, self._settings, self._pool, self._replacements.recycle)
        while not (self._stops and self._pool.empty):
            self._pool.fork_due()
            self._loop.poll()

    # ---- What the pool tells

    def on_ready(self, slot: Slot, worker: Worker) -> None:
        self._scaling.on_ready(slot)
        self._replacements.on_ready(slot)
        if not self._announced and all(each.current for each in self._pool.slots):
            self._announced = True
            try:
                print(worker.ready_line, flush=True)
            except OSError as error:  # the reader of our output has exited, or its disk is full
                self._fail(error)

    def on_boot_failed(self, slot: Slot, error: EpolloError, lifetime: float) -> None:
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
        if number in (signal.SIGTERM, signal.SIGINT) and self._stops > 1:
            self._pool.kill_all()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._loop.call_threadsafe(partial(self._act, number))

    def _act(self, number: int) -> None:
        match number:
            case signal.SIGCHLD:
                self._pool.reap()
            case signal.SIGTERM | signal.SIGINT:
                self._stop()
            case signal.SIGHUP if not self._stops:
                self._replacements.reload()
            case signal.SIGTTIN if not self._stops:
                self._scaling.change(1)
            case signal.SIGTTOU if not self._stops:
                self._scaling.change(-1)

    def _stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            self._distributor.finish(self._settings.backlog, self._pool.passages)
            self._sockets.close()
            self._pool.stop()
        else:
            self._pool.abort()

    def _fail(self, error: BaseException) -> None:
        """It cannot serve: end all, and raise the first error."""
        if self._failure is None:
            self._failure = error
            if not self._stops:
                self._stop()
