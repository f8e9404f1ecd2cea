"""Calls that a loop makes between its reads: at their time, or since another thread asked for it.

And what wakes it for them, and for work that was made outside a turn.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from epollo.engine.alarm import Alarm
from epollo.engine.events import READ
from epollo.engine.source import Source
from epollo.engine.timers import Timer, Timers
from epollo.engine.wakeup import Waker

_log = logging.getLogger("epollo.engine")


class Calls(ABC):
    """What a loop is asked to call, and what wakes it for that."""

    waiting: bool  # in `poll`, for the kernel
    polling: bool  # in `poll`, after that
    dirty: list[Any]  # connections to flush, and to decide on, when the turn ends
    _dead: list[Any]  # connections closed in this turn
    _timers: Timers
    _calls: deque[Callable[[], object]]
    _closed: bool
    _waker: Waker
    _alarm: Alarm | None  # where the loop is a descriptor in another one
    _exit: BaseException | None  # to be raised when the turn is over

    def __init__(self) -> None:
        self.waiting = self.polling = self._closed = False
        self.dirty = []
        self._dead = []
        self._timers = Timers()
        self._calls = deque()
        self._alarm = None
        self._exit = None
        self.on_error: Callable[[BaseException, str], object] = _log_error
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
        """Tell `on_error` of an error that is no connection's close reason; see also `pass_on`."""
        self.pass_on(error)
        try:
            self.on_error(error, what)
        except BaseException as failure:  # such as of a logging handler of the user's
            traceback.print_exc()
            self.pass_on(failure)

    def pass_on(self, error: BaseException) -> None:
        """Let KeyboardInterrupt and SystemExit leave `poll` at the end of the turn.

        By then what they interrupted has been closed and reported, and the replies of all other
        connections are sent. Every other error that a user's code raises ends here.
        """
        if isinstance(error, KeyboardInterrupt | SystemExit) and self._exit is None:
            self._exit = error
            if not self.polling:
                self._see_to_it()

    def _raise_exit(self) -> NoReturn:
        assert self._exit is not None
        error, self._exit = self._exit, None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.set(self._timers.next)

    def _make_calls(self) -> None:
        """What is due, and what other threads have asked for until now."""
        due: deque[Callable[[], object]] = deque(timer.fire for timer in self._timers.due())
        try:
            for _ in range(len(self._calls)):
                due.append(self._calls.popleft())
            while due:
                try:
                    due.popleft()()
                except BaseException as error:
                    self.report(error, "a callback of the loop raised")
        finally:  # a signal handler has raised: make the other calls in the next turn
            self._calls.extendleft(reversed(due))
        self._set_alarm()

    def _forget_calls(self) -> None:
        self._timers.clear()
        self._calls.clear()
        self._alarm = None

    def _see_to_it(self) -> None:
        """Wake the loop for work made outside a turn, or by a signal handler in its wait."""
        if self.waiting or self._alarm is not None:
            self._waker.wake()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the loop is closed")


def _log_error(error: BaseException, what: str) -> None:
    _log.error(what, exc_info=error)
