"""One worker more, or one fewer: SIGTTIN and SIGTTOU, as gunicorn and unicorn know them."""

from __future__ import annotations

from epollo.engine import EventLoop
from epollo.errors import BindError
from epollo.logs.logger import logger
from epollo.plurals import counted
from epollo.settings import MOST_WORKERS
from epollo.workers.pool import Pool
from epollo.workers.slot import Slot
from epollo.workers.sockets import Sockets
from epollo.workers.worker import Worker

STEERING_SECONDS = 0.25
"""From the moment on which new connections are steered away from a slot, until its worker accepts
what is in the queue and closes it: TCP handshakes that have begun end in the meantime."""

_log = logger("epollo.supervisor")


class Scaling:
    """Adds slots, and gives up the last one.

    One at a time: the kernel numbers the sockets of a group anew when one is closed, so none may be
    added before that has happened.
    """

    def __init__(self, loop: EventLoop, pool: Pool, sockets: Sockets, count: int) -> None:
        self._loop = loop
        self._pool = pool
        self._sockets = sockets
        self._wanted = count
        self._refusal = ""  # why there is none more
        self._closing: Slot | None = None  # is being given up
        self._last: Worker | None = None  # its worker, which is about to close its sockets

    @property
    def busy(self) -> bool:
        """Is a slot being given up?"""
        return self._closing is not None

    @property
    def wanted(self) -> int:
        """How many workers there are to be."""
        return self._wanted

    def change(self, by: int) -> str:
        """``by`` workers more. Returns why not; empty if there is no reason."""
        wanted = self._wanted + by
        if not 1 <= wanted <= MOST_WORKERS:
            refusal = f"there are from 1 to {MOST_WORKERS} workers; still {self._wanted}"
            _log.warning("%s", refusal)
            return refusal
        self._wanted, self._refusal = wanted, ""
        self._act()
        return self._refusal

    def on_ready(self, slot: Slot) -> None:
        """A worker serves ``slot``: if that is given up, it can now drain."""
        if slot is self._closing:
            self._loop.call_later(STEERING_SECONDS, self._drain)

    def on_boot_failed(self, slot: Slot) -> bool:
        """If ``slot`` is being given up and has no worker, it ends now, and true is returned."""
        if slot is not self._closing:
            return False
        if slot.current is not None:
            self._loop.call_later(STEERING_SECONDS, self._drain)
            return False
        self._remove()
        self._finish()
        return True

    def on_released(self, worker: Worker) -> None:
        """``worker`` has closed its sockets."""
        if worker is self._last:
            self._finish()

    def _act(self) -> None:
        if self._closing is not None:
            return
        while len(self._pool.slots) < self._wanted and self._add():
            pass
        if len(self._pool.slots) > self._wanted:
            self._closing = slot = self._pool.slots[-1]
            slot.given_up = True
            self._pool.steer()
            if slot.current is not None:
                self._loop.call_later(STEERING_SECONDS, self._drain)

    def _add(self) -> bool:
        try:
            self._sockets.add_slot()
        except BindError as error:
            self._refusal = f"still {counted(len(self._pool.slots), 'worker')}: {error}"
            _log.error("%s", self._refusal)
            self._wanted = len(self._pool.slots)
            return False
        self._pool.add_slot()
        _log.info("one worker more: %d", len(self._pool.slots))
        return True

    def _drain(self) -> None:
        slot = self._closing
        if slot is None or self._last is not None:
            return
        if slot.current is None or slot.booting is not None:
            return  # the worker that boots serves the queue, and then drains
        self._last = slot.current
        self._remove()
        self._pool.drain(self._last, "all")

    def _remove(self) -> None:
        self._sockets.remove_last_slot()
        self._pool.slots.pop()
        _log.info("one worker fewer: %d", len(self._pool.slots))

    def _finish(self) -> None:
        self._closing = self._last = None
        self._pool.steer()
        self._act()
