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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLEANUP_SECONDS = 0.4  # for what is cancelled when the grace is over

_LONGEST_GRACE = 1e6  # seconds; some calls that wait take no more than some years

LEFT_BEHIND = "left behind by the stop, since it did not end: %s"

_PERIOD = 0.1  # seconds between two looks at the deadline, which a second signal moves
_INTERRUPTS = 3
_INTERRUPT_PERIOD = 0.15  # seconds without a sign of life after which there is another one
_OWN_FILES = ("signals.py", "stopping.py")  # of the signal handler, which raises StopOverdue

_log = logging.getLogger("epollo.server")


class StopOverdue(BaseException):
    """Raised in a function that blocks the main thread after the deadline of a stop."""


class Stop:
    """The end of a server: its deadline, known once a stop was asked for, and what it leaves
    behind. From any thread."""

    def __init__(self, grace: float) -> None:
        self._grace = grace  # seconds, where a stop does not say otherwise
        self._deadline: float | None = None  # time.monotonic()
        self._listeners: list[Callable[[], object]] = []
        self._left_behind: list[str] = []
        self.reported = False  # was anything logged as left behind?

    def clear(self) -> None:
        """No stop was asked for."""
        self._deadline = None
        self._left_behind.clear()
        self.reported = False

    def begin(self, grace: float | None = None) -> None:
        """A stop was asked for; if it was before, it must be over at once."""
        now, before = time.monotonic(), self._deadline
        if before is None:
            seconds = min(self._grace if grace is None else grace, _LONGEST_GRACE)
            self._deadline = now + seconds + CLEANUP_SECONDS
        else:
            self._deadline = min(before, now + CLEANUP_SECONDS)
        for listener in tuple(self._listeners):
            listener()

    def ensure(self) -> None:
        """The server ends, whether a stop was asked for or not."""
        if self._deadline is None:
            self.begin()

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline, 0 after it; None while there is none."""
        deadline = self._deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    @contextmanager
    def listening(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call ``listener`` when the deadline is set or moved, in the thread that does so."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def leave_behind(self, names: Iterable[str]) -> None:
        """These have not ended by the deadline."""
        self._left_behind += names

    def report(self) -> None:
        """Log in one line what was left behind, if anything."""
        if self._left_behind:
            _log.error(LEFT_BEHIND, "; ".join(self._left_behind))
            self._left_behind.clear()
            self.reported = True


class Watchdog:
    """Interrupts a function that blocks the main thread after the deadline of a stop.

    Only where the main thread runs the application's code: in a loop that makes no call any more,
    or in a hook that is called outside the loop. The stop itself starts the watchdog's thread, and
    may do so in a signal handler. So that is no `threading.Thread`, which takes locks that the
    interrupted code may hold.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._over: _thread.LockType | None = None  # held while the main thread is watched
        self._call_in_loop: Callable[[Callable[[], object]], object] | None = None
        self._hook: object = None  # the call of a hook that is under way
        self._sending = _thread.allocate_lock()  # held while a signal is sent
        self._interrupting = False
        self._started = False
        self._ends_process = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread, if it is the main one, whose handler of SIGTERM calls `interrupts`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._over = over = _thread.allocate_lock()
        self._started = False
        over.acquire()
        try:
            with self._stop.listening(self._start):
                if self._stop.seconds_left is not None:  # a signal came before
                    self._start()
                yield
        finally:
            with self._sending:
                self._over = None
            os.getppid()  # A signal that was sent is delivered by the end of any system call.
            over.release()

    @contextmanager
    def in_loop(self, call_threadsafe: Callable[[Callable[[], object]], object]) -> Iterator[None]:
        """A loop runs in this thread, and can be asked to make a call."""
        before, self._call_in_loop = self._call_in_loop, call_threadsafe
        try:
            yield
        finally:
            self._call_in_loop = before

    @contextmanager
    def in_hook(self) -> Iterator[None]:
        """A hook of the application is called in this thread, outside any loop."""
        self._hook = object()
        try:
            yield
        finally:
            self._hook = None

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
        while (left := (self._stop.seconds_left or 0) - CLEANUP_SECONDS) > 0:
            if over.acquire(timeout=min(left, _PERIOD)):
                return
        seconds, interrupts = CLEANUP_SECONDS, 0
        while interrupts < _INTERRUPTS:
            is_stuck = self._begin_check()
            if over.acquire(timeout=seconds):
                return
            if is_stuck():
                self._interrupt()
                interrupts += 1
            seconds = _INTERRUPT_PERIOD
        if self._ends_process:
            exit_process("a function that cannot be interrupted", 1)

    def _begin_check(self) -> Callable[[], bool]:
        """Ask the main thread for a sign of life; returns what tells if it gave none."""
        hook, call_in_loop = self._hook, self._call_in_loop
        if call_in_loop is None:
            return lambda: hook is not None and self._hook is hook
        alive = _thread.allocate_lock()
        alive.acquire()
        try:
            call_in_loop(alive.release)
        except RuntimeError:  # the loop is closed
            return lambda: False
        return alive.locked

    def _interrupt(self) -> None:
        main = threading.main_thread().ident
        with self._sending:
            if self._over is not None and main is not None:
                self._interrupting = True
                signal.pthread_kill(main, signal.SIGTERM)


def exit_within(seconds: float, stop: Stop) -> None:
    """End the process with status 0 if it has not ended so long after the deadline: a thread of the
    application, such as one of `asyncio.to_thread`, may keep the interpreter from its end."""
    seconds += stop.seconds_left or 0.0

    def wait() -> None:
        time.sleep(seconds)
        exit_process("" if stop.reported else "a thread of the application", 0)

    _thread.start_new_thread(wait, ())


def exit_process(what: str, status: int) -> None:
    """End the process without waiting for anything. Logs ``what`` is left behind, if given."""
    if what:
        _log.error(LEFT_BEHIND, what)
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
