"""The time that a stop may take, whatever the application does meanwhile.

A stop lets the application finish until the grace is over. Then its connections are closed and its
coroutines cancelled, for which there are `CLEANUP_SECONDS` more. What has not ended by then is left
behind: named in one line of the log, and not waited for.

A plain function that blocks the loop's own thread cannot be left behind. Where that is the main
thread, `Watchdog` interrupts it, several times if need be, and as the last resort ends the process,
if a signal asked for the stop. All of it takes less than a second after the grace.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLEANUP_SECONDS = 0.4  # for what is cancelled when the grace is over

_PERIOD = 0.1  # seconds between two looks at the deadline, which a second signal moves
_INTERRUPTS = 8
_INTERRUPT_PERIOD = 0.05

_OWN_FILES = ("signals.py", "stopping.py")  # of the signal handler, which raises the error

_log = logging.getLogger("epollo.server")


class StopOverdue(BaseException):
    """Raised in a function that blocks the main thread after the deadline of a stop."""


class StopDeadline:
    """The time by which a stop is over: known once it was asked for. From any thread."""

    def __init__(self, grace: float) -> None:
        self._grace = grace  # seconds, where a stop does not say otherwise
        self._at: float | None = None  # time.monotonic()
        self._listeners: list[Callable[[], object]] = []

    def clear(self) -> None:
        """No stop was asked for."""
        self._at = None

    def begin(self, grace: float | None = None) -> None:
        """A stop was asked for; if it was before, it must be over at once."""
        now, before = time.monotonic(), self._at
        if before is None:
            self._at = now + (self._grace if grace is None else grace) + CLEANUP_SECONDS
        else:
            self._at = min(before, now + CLEANUP_SECONDS)
        for listener in tuple(self._listeners):
            listener()

    def ensure(self) -> None:
        """The server ends, whether a stop was asked for or not."""
        if self._at is None:
            self.begin()

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, 0 after it; None while there is none."""
        at = self._at
        return None if at is None else max(0.0, at - time.monotonic())

    @contextmanager
    def listening(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call ``listener`` when the deadline is set or moved, in the thread that does so."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


class Watchdog:
    """Ends a function that blocks the main thread after the deadline of a stop.

    The stop itself starts its thread, maybe in a signal handler. So that is no `threading.Thread`,
    which takes locks that the interrupted code may hold.
    """

    def __init__(self, deadline: StopDeadline) -> None:
        self._deadline = deadline
        self._over: _thread.LockType | None = None  # held while the main thread is watched
        self._sending = _thread.allocate_lock()  # held while a signal is sent
        self._interrupting = False
        self._started = False
        self._ends_process = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread, the main one, whose handler of SIGTERM calls `interrupts`."""
        if self._over is not None:  # an outer block does
            yield
            return
        self._over = over = _thread.allocate_lock()
        self._started = self._ends_process = False
        over.acquire()
        try:
            with self._deadline.listening(self._start):
                yield
        finally:
            with self._sending:
                self._over = None
            os.getppid()  # A signal that was sent is delivered by the end of any system call.
            over.release()

    def end_process(self) -> None:
        """A signal asked for the stop, so the process has to end, whatever happens."""
        self._ends_process = True

    def interrupts(self) -> bool:
        """In the signal handler: was it the watchdog that sent the signal? Raises StopOverdue while
        the main thread is watched."""
        if not self._interrupting:
            return False
        self._interrupting = False
        if self._over is not None:
            raise StopOverdue
        return True

    def _start(self) -> None:
        if not self._started and self._over is not None:
            self._started = True
            _thread.start_new_thread(self._watch, (self._over,))

    def _watch(self, over: _thread.LockType) -> None:
        while left := self._deadline.left:
            if over.acquire(timeout=min(left, _PERIOD)):
                return
        for wait in (_PERIOD, *[_INTERRUPT_PERIOD] * _INTERRUPTS):
            if over.acquire(timeout=wait):
                return
            self._interrupt()
        if self._ends_process:
            leave("a function that cannot be interrupted", 1)

    def _interrupt(self) -> None:
        main = threading.main_thread().ident
        with self._sending:
            if self._over is not None and main is not None:
                self._interrupting = True
                signal.pthread_kill(main, signal.SIGTERM)


def leave_within(seconds: float) -> None:
    """End the process with status 0 if it has not ended by then: a thread that the application
    started, such as one of `asyncio.to_thread`, may keep the interpreter from its end."""

    def wait() -> None:
        time.sleep(seconds)
        leave("a thread of the application", 0)

    _thread.start_new_thread(wait, ())


def leave(what: str, status: int) -> None:
    """End the process without waiting for anything."""
    tell_left_behind([what])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass
    os._exit(status)


def place_of(error: StopOverdue) -> str:
    """Where the main thread was when it was interrupted."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if Path(frame.filename).name not in _OWN_FILES] or frames
    return f"{places[-1].name} in {places[-1].filename}:{places[-1].lineno}"


def tell_left_behind(names: Sequence[str]) -> None:
    """Log in one line what had not ended when the server stopped."""
    if names:
        _log.error("left behind by the stop, since it did not end: %s", "; ".join(names))
