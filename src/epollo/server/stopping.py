"""The deadline of a stop, which holds whatever the application does.

A stop lets the application finish during the grace. After the grace, connections are closed and
coroutines cancelled, which may take `CLEANUP_SECONDS` more: that is the deadline. Functions and
tasks that have not ended by then are left behind: named in one line of the log, not waited for.

A plain function that blocks the loop's own thread cannot be left behind. If that is the main
thread, `Watchdog` interrupts it, several times if necessary. As the last resort it ends the
process, if a signal asked for the stop. All of this takes less than a second after the grace.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from epollo.logs.logger import logger

CLEANUP_SECONDS = 0.4  # for cancelled coroutines, after the grace

_LONGEST_GRACE = 1e6  # seconds; system calls that wait accept only some years

LEFT_BEHIND = "left behind by the stop, since it did not end: %s"

_PERIOD = 0.1  # seconds between checks of the deadline, which a second signal moves
_INTERRUPTS = 3
_INTERRUPT_PERIOD = 0.15  # seconds from one interrupt to the next, if the thread is still stuck
_OWN_FILES = ("signals.py", "stopping.py")  # frames of the signal handler, which raises StopOverdue

_log = logger("epollo.server")


class StopOverdue(BaseException):
    """Raised in a function that blocks the main thread after the deadline of a stop."""


class Stop:
    """One stop of a server: its deadline, once the stop was asked for, and the names of functions
    and tasks that it leaves behind. From any thread."""

    def __init__(self, grace: float) -> None:
        self._grace = grace  # seconds, if `begin` is given none
        self._deadline: float | None = None  # time.monotonic()
        self._callbacks: list[Callable[[], object]] = []
        self._left_behind: list[str] = []
        self.reported: bool = False  # was anything left behind, and logged?

    def clear(self) -> None:
        """Forget a former stop."""
        self._deadline = None
        self._left_behind.clear()
        self.reported = False

    def begin(self, grace: float | None = None) -> None:
        """A stop is asked for. The second time, it must end at once."""
        now, before = time.monotonic(), self._deadline
        if before is None:
            seconds = min(self._grace if grace is None else grace, _LONGEST_GRACE)
            self._deadline = now + seconds + CLEANUP_SECONDS
        else:
            self._deadline = min(before, now + CLEANUP_SECONDS)
        for callback in tuple(self._callbacks):
            callback()

    def delay(self, seconds: float, grace: float) -> None:
        """A stop is asked for that begins after ``seconds``; or earlier, by `hurry`."""
        self.begin(seconds + grace)

    def hurry(self, grace: float) -> None:
        """The stop begins now, not after its delay."""
        self._deadline = None
        self.begin(grace)

    def ensure(self) -> None:
        """The server ends for another reason: set the deadline, unless a stop was asked for."""
        if self._deadline is None:
            self.begin()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline, 0 after it; None if no stop was asked for."""
        deadline = self._deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    @contextmanager
    def notifying(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call ``callback`` when the deadline is set or moved, in the thread that moves it."""
        self._callbacks.append(callback)
        try:
            yield
        finally:
            self._callbacks.remove(callback)

    def leave_behind(self, names: Iterable[str]) -> None:
        """Remember ``names`` of functions and tasks that have not ended by the deadline."""
        self._left_behind += names

    def report(self) -> None:
        """Log the names of those left behind, if any, in one line."""
        if self._left_behind:
            _log.error(LEFT_BEHIND, "; ".join(self._left_behind))
            self._left_behind.clear()
            self.reported = True


class Watchdog:
    """Interrupts a function that blocks the main thread after the deadline of a stop.

    Only if the main thread runs the application's code: in a loop that does not answer any more,
    or in a hook that is called outside the loop. The stop starts the watchdog's thread, perhaps in
    a signal handler. Therefore it is not a `threading.Thread`, whose locks the interrupted code may
    hold.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._watch_lock: _thread.LockType | None = None  # held while the main thread is watched
        self._running = _thread.allocate_lock()  # held while the thread runs
        self._call_in_loop: Callable[[Callable[[], object]], object] | None = None
        self._hook: object = None  # identifies the current call of a hook
        self._sending = _thread.allocate_lock()  # held while a signal is sent
        self._interrupting = False
        self._started = False
        self._ends_process = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread if it is the main one. Its SIGTERM handler must call `sent_signal`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._watch_lock = watch_lock = _thread.allocate_lock()
        self._running = running = _thread.allocate_lock()
        self._started, process = False, os.getpid()
        watch_lock.acquire()
        try:
            with self._stop.notifying(self._start):
                if self._stop.seconds_left is not None:  # a signal has come already
                    self._start()
                yield
        finally:
            with self._sending:
                self._watch_lock = None
            os.getppid()  # after any system call, a signal that was sent has been delivered
            watch_lock.release()
            if os.getpid() == process:  # a forked process has no such thread
                # One that comes back only when the interpreter has ended would crash the process.
                with running:
                    pass

    @contextmanager
    def in_loop(self, call_threadsafe: Callable[[Callable[[], object]], object]) -> Iterator[None]:
        """A loop runs in this thread; ``call_threadsafe`` makes it call a function."""
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
        """A signal asked for the stop: the process must end in any case."""
        self._ends_process = True

    def sent_signal(self) -> bool:
        """For the signal handler: did the watchdog send the signal? Raises StopOverdue if so, and
        the main thread is still watched."""
        if not self._interrupting:
            return False
        self._interrupting = False
        if self._watch_lock is not None:
            raise StopOverdue
        return True

    def _start(self) -> None:
        watch_lock, running = self._watch_lock, self._running
        if watch_lock is None or self._started or not running.acquire(blocking=False):
            return
        self._started = True
        try:
            _thread.start_new_thread(self._run, (watch_lock, running))
        except BaseException:
            running.release()
            raise

    def _run(self, watch_lock: _thread.LockType, running: _thread.LockType) -> None:
        try:
            self._watch(watch_lock)
        finally:
            running.release()

    def _watch(self, watch_lock: _thread.LockType) -> None:
        while (left := (self._stop.seconds_left or 0) - CLEANUP_SECONDS) > 0:
            if watch_lock.acquire(timeout=min(left, _PERIOD)):
                return
        seconds, interrupts = CLEANUP_SECONDS, 0
        while interrupts < _INTERRUPTS:
            is_stuck = self._begin_check()
            if watch_lock.acquire(timeout=seconds):
                return
            if is_stuck():
                self._interrupt()
                interrupts += 1
            seconds = _INTERRUPT_PERIOD
        if self._ends_process:
            exit_process("a function that cannot be interrupted", 1)

    def _begin_check(self) -> Callable[[], bool]:
        """Ask the main thread to answer; returns a function that tells if it has not answered."""
        hook, call_in_loop = self._hook, self._call_in_loop
        if call_in_loop is None:
            return lambda: hook is not None and self._hook is hook
        unanswered = _thread.allocate_lock()
        unanswered.acquire()
        try:
            call_in_loop(unanswered.release)
        except RuntimeError:  # the loop is closed
            return lambda: False
        return unanswered.locked

    def _interrupt(self) -> None:
        main = threading.main_thread().ident
        with self._sending:
            if self._watch_lock is not None and main is not None:
                self._interrupting = True
                signal.pthread_kill(main, signal.SIGTERM)


def exit_within(seconds: float, stop: Stop) -> None:
    """End the process with status 0 if it still runs ``seconds`` after the deadline: a thread of
    the application, such as one of `asyncio.to_thread`, may prevent the interpreter's exit."""
    seconds += stop.seconds_left or 0.0

    def wait() -> None:
        time.sleep(seconds)
        exit_process("" if stop.reported else "a thread of the application", 0)

    _thread.start_new_thread(wait, ())


def exit_after(seconds: float, status: int) -> None:
    """End the process with ``status`` if it still runs after ``seconds``."""

    def wait() -> None:
        time.sleep(seconds)
        exit_process("", status)

    _thread.start_new_thread(wait, ())


def exit_process(what: str, status: int) -> None:
    """End the process without waiting for anything. Logs that ``what`` is left behind, if given."""
    if what:
        _log.error(LEFT_BEHIND, what)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or None
            pass
    os._exit(status)


def place_of(error: StopOverdue) -> str:
    """Where the main thread was when it was interrupted."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if Path(frame.filename).name not in _OWN_FILES] or frames
    return f"{places[-1].name} in {places[-1].filename}:{places[-1].lineno}"
