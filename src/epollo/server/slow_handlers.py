"""Handlers that hold the loop, and so all other connections: named in the log.

One that returns late is timed by the loop. One that does not return is named by a thread that looks
at the loop's thread now and then: as long as that runs code of the application, it asks the loop to
answer. So an idle loop is not woken, and a message costs nothing.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

from epollo.engine import Connection, EventLoop
from epollo.logs.logger import logger
from epollo.server.handlers.application import Application
from epollo.server.places import place_and_stack_of_thread, place_of_thread

_SHORTEST_PERIOD = 0.01  # seconds between two looks
_OF_MAIN_THREAD = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_HOOK_SECONDS = 1.0  # for `started` and `stopped`, which may take their time

_log = logger("epollo.server")

Poster = Callable[[Callable[[], object]], object]
"""Makes a loop call a function: ``call_threadsafe`` or ``call_soon_threadsafe``."""


class SlowHandlers:
    """Names the handler ``name`` if it holds the loop for longer than ``seconds``, 0 for never; at
    most once a second."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._last = -math.inf  # time.monotonic() of the last line
        self._named = False  # while it held the loop, and it has not returned since

    def begin(self, loop: EventLoop) -> None:
        """Let ``loop`` time what it does with each read."""
        loop.slow_after = self._seconds or math.inf
        loop.on_slow = self._log_late

    @contextmanager
    def watching(self, post: Poster) -> Iterator[None]:
        """A loop runs in this thread for the ``with`` block; ``post`` makes it call a function."""
        with self._thread(_Watch(self._seconds, self._log_held, post)):
            yield

    @contextmanager
    def in_hook(self, application: Application, hook: str) -> Iterator[None]:
        """A hook of ``application``, if it has one, runs in this thread, outside any loop."""

        def log_hook(seconds: float, place: str, stack: str) -> None:
            text = "handler %s: %s held the loop for %.1f s and still holds it, at %s"
            fields = {"handler": self._name, "hook": hook, "seconds": seconds, "place": place}
            _warn(text, (self._name, hook, seconds, place), fields, stack)

        watch = _Watch(max(self._seconds, _HOOK_SECONDS), log_hook)
        with self._thread(watch) if application.has(hook) else nullcontext():
            yield

    @contextmanager
    def _thread(self, watch: _Watch) -> Iterator[None]:
        if not self._seconds:
            yield
            return
        ident = threading.get_ident()
        thread = threading.Thread(target=watch.run, args=(ident,), name="epollo-watch", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # none can be started once the main thread has ended
            yield
            return
        process = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == process:  # a forked process has neither the thread nor its lock
                watch.running.release()
                thread.join()

    def _log_late(self, connection: Connection, seconds: float) -> None:
        """It has returned. If it was named before that, this line says with which peer, and for how
        long in all."""
        named, self._named = self._named, False
        if self._is_due() or named:
            peer = connection.peername
            fields = {"connection": connection.id, "peer": peer}
            _log.warning(
                "handler %s held the loop for %.0f ms, with the messages of one read from %s;"
                " an async handler, or threads, would not hold up other connections",
                self._name,
                seconds * 1000,
                peer,
                extra={**fields, "handler": self._name, "seconds": seconds},
            )

    def _log_held(self, seconds: float, place: str, stack: str) -> None:
        if self._is_due():
            self._named = True
            text = "handler %s held the loop for %.0f ms and still holds it, at %s"
            fields = {"handler": self._name, "seconds": seconds, "place": place}
            _warn(text, (self._name, seconds * 1000, place), fields, stack)

    def _is_due(self) -> bool:
        """Log at most once a second: a slow handler is likely to be slow each time."""
        now = time.monotonic()
        if now - self._last < 1:
            return False
        self._last = now
        return True


class _Watch:
    """Reports code of the application that holds a thread, with its place and stack: first after
    ``seconds``, and then each time that it has taken ten times longer.

    Without ``post`` the thread runs no loop, and is held all the time.
    """

    def __init__(
        self,
        seconds: float,
        report: Callable[[float, str, str], object],
        post: Poster | None = None,
    ) -> None:
        self.running = threading.Lock()  # held while the thread is to run: cheaper to wait for
        self.running.acquire()
        self._first = seconds
        self._period = max(_SHORTEST_PERIOD, seconds / 2)
        self._report = report
        self._post = post
        self._asked = self._answered = 0

    def run(self, ident: int) -> None:
        """In a thread of its own, until `running` is released; the thread ``ident`` is watched."""
        # A signal to a stopped process goes to the thread that runs first once it continues. Python
        # handles it in the main thread, and no other thread can interrupt a call that blocks there.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_MAIN_THREAD)
        since, due = time.monotonic(), self._first
        while not self.running.acquire(timeout=self._period):
            now = time.monotonic()
            held = self._post is None or self._asked != self._answered
            if held and now - since < due:
                continue
            if held:
                if (found := place_and_stack_of_thread(ident)) is not None:
                    self._report(now - since, *found)
                due = 10 * (now - since)
            elif place_of_thread(ident) is not None:
                since, due = now, self._first
                self._ask()

    def _ask(self) -> None:
        self._asked += 1
        try:
            if self._post is not None:
                self._post(self._answer)
        except RuntimeError:  # the loop is closed
            self._answer()

    def _answer(self) -> None:
        self._answered = self._asked


def _warn(
    text: str, arguments: tuple[object, ...], fields: Mapping[str, object], stack: str
) -> None:
    """Log a warning with the stack of another thread: logging adds only its own."""
    if _log.isEnabledFor(logging.WARNING):
        record = _log.logger.makeRecord(
            _log.name,
            logging.WARNING,
            __file__,
            0,
            text,
            arguments,
            None,
            extra=fields,
            sinfo=stack,
        )
        _log.handle(record)
