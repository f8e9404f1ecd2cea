"""Handlers that hold the loop, and so all other connections: named in the log.

One that returns late is timed by the loop. One that does not return is named by a thread that looks
at the loop's thread now and then: as long as that runs code of the application, it asks the loop to
answer. So an idle loop is not woken, and a message costs nothing.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from epollo.engine import Connection, EventLoop
from epollo.server.handlers.application import Application
from epollo.server.places import place_of_thread

_SHORTEST_PERIOD = 0.01  # seconds between two looks
_HOOK_SECONDS = 1.0  # for `started` and `stopped`, which may take their time

_log = logging.getLogger("epollo.server")

Poster = Callable[[Callable[[], object]], object]
"""Makes a loop call a function: ``call_threadsafe`` or ``call_soon_threadsafe``."""


class SlowHandlers:
    """Names the handler ``name`` if it holds the loop for longer than ``seconds``, 0 for never; at
    most once a second."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._last = -math.inf  # time.monotonic() of the last line

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

        def log_hook(seconds: float, place: str) -> None:
            _log.warning(
                "handler %s: %s held the loop for %.1f s and still holds it, at %s",
                self._name,
                hook,
                seconds,
                place,
            )

        watch = _Watch(max(self._seconds, _HOOK_SECONDS / 2), log_hook)
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
        if self._is_due():
            _log.warning(
                "handler %s held the loop for %.0f ms, with the messages of one read from %s;"
                " an async handler, or threads, would not hold up other connections",
                self._name,
                seconds * 1000,
                connection.peername,
            )

    def _log_held(self, seconds: float, place: str) -> None:
        if self._is_due():
            _log.warning(
                "handler %s held the loop for %.0f ms and still holds it, at %s",
                self._name,
                seconds * 1000,
                place,
            )

    def _is_due(self) -> bool:
        """Log at most once a second: a slow handler is likely to be slow each time."""
        now = time.monotonic()
        if now - self._last < 1:
            return False
        self._last = now
        return True


class _Watch:
    """Reports code of the application that holds a thread: first after twice ``seconds``, since one
    that returns before is timed by the loop, and then each time that it has taken ten times longer.

    Without ``post`` the thread runs no loop, and is held all the time.
    """

    def __init__(
        self, seconds: float, report: Callable[[float, str], object], post: Poster | None = None
    ) -> None:
        self.running = threading.Lock()  # held while the thread is to run: cheaper to wait for
        self.running.acquire()
        self._first = 2 * seconds
        self._period = max(_SHORTEST_PERIOD, seconds / 2)
        self._report = report
        self._post = post
        self._asked = self._answered = 0

    def run(self, ident: int) -> None:
        """In a thread of its own, until `running` is released; the thread ``ident`` is watched."""
        since, due = time.monotonic(), self._first
        while not self.running.acquire(timeout=self._period):
            now = time.monotonic()
            held = self._post is None or self._asked != self._answered
            if held and now - since < due:
                continue
            place = place_of_thread(ident)
            if held:
                if place is not None:
                    self._report(now - since, place)
                due = 10 * (now - since)
            elif place is not None:
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
