"""Calls that a loop makes between its reads: at their time, or since another thread asked for it.

And what wakes it for them, and for work that was made outside a turn.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from epollo.engine.alarm import Alarm
from epollo.engine.events import READ
from epollo.engine.source import Source
from epollo.engine.timers import Timer, Timers
from epollo.engine.waker import Waker

_log = logging.getLogger("epollo.engine")


class Calls(ABC):
    """What a loop is asked to call, and what wakes it for that."""

    polling: bool  # in `poll`
    dirty: list[Any]  # connections to flush, and to decide on, when the turn ends
    _dead: list[Any]  # connections closed in this turn
    _timers: Timers
    _calls: deque[Callable[[], object]]
    _closed: bool
    _waker: Waker
    _alarm: Alarm | None  # where the loop is a descriptor in another one

    def __init__(self) -> None:
        self.polling = self._closed = False
        self.dirty = []
        self._dead = []
        self._timers = Timers()
        self._calls = deque()
        self._alarm = None
        self._waker = Waker()
        self.watch(self._waker.receiver.fileno(), self._waker, READ)

    @abstractmethod
    def watch(self, fd: int, source: Source, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""

    @abstractmethod
    def _descriptor(self) -> int:
        """The poller's own descriptor. Raises EngineMissing where it has none."""

    def fileno(self) -> int:
        """A descriptor that is readable when ``poll(0)`` has work: the whole engine is one
        descriptor in another loop. Raises EngineMissing for a poller that is none itself."""
        self._check_open()
        descriptor = self._descriptor()
        if self._alarm is None:
            self._alarm = Alarm()
            self.watch(self._alarm.fd, self._alarm, READ)
            self._alarm.set(self._timers.next)
            if self.dirty or self._dead:
                self._waker.wake()
        return descriptor

    @property
    def wakeup_fd(self) -> int:
        """For signal.set_wakeup_fd: a signal that comes just before the loop waits wakes it."""
        return self._waker.sender.fileno()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the loop's thread, ``seconds`` from now."""
        timer = self._timers.add(seconds, callback)
        self._set_alarm()
        return timer

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the loop's thread, soon. From any thread or signal handler."""
        self._calls.append(callback)
        self._waker.wake()

    def report(self, error: BaseException, what: str) -> None:
        """Log what has no connection to be the close reason of."""
        _log.error(what, exc_info=error)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.set(self._timers.next)

    def _make_calls(self) -> None:
        """What is due, and what other threads have asked for until now."""
        due: deque[Callable[[], object]] = deque(timer.fire for timer in self._timers.due())
        due.extend(self._calls.popleft() for _ in range(len(self._calls)))
        try:
            while due:
                try:
                    due.popleft()()
                except Exception as error:
                    self.report(error, "a callback of the loop raised")
        finally:  # of what ends the loop: the others are made when it goes on
            self._calls.extendleft(reversed(due))
        self._set_alarm()

    def _forget_calls(self) -> None:
        self._timers.clear()
        self._calls.clear()
        self._alarm = None

    def _see_to_it(self) -> None:
        """Work that was made outside a turn makes the loop's descriptor readable."""
        if self._alarm is not None:
            self._waker.wake()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the loop is closed")
