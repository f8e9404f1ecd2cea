"""The signals that stop a server, and the one that opens its log files anew."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from epollo.engine import EventLoop
from epollo.server.stopping import Watchdog

Handlers = list[tuple[signal.Signals, Any]]

_BEFORE: list[Handlers] = []  # what the servers of this process have replaced, the latest last


def _restore_in_child() -> None:
    """A forked process has no server that a signal could stop."""
    while _BEFORE:
        _restore(_BEFORE.pop())


os.register_at_fork(after_in_child=_restore_in_child)


class Signals:
    """Handles SIGINT and SIGTERM, and counts them since `restart`."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._count = 0

    def restart(self) -> None:
        """Count from 0 again."""
        self._count = 0

    @contextmanager
    def handled(
        self,
        stop: Callable[[int], bool],
        numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
        *,
        reopen_logs: Callable[[], object] | None = None,
    ) -> Iterator[None]:
        """Each signal of ``numbers`` calls ``stop`` with its number; the third one ends the process
        at once. One for which ``stop`` returns false does not count. SIGUSR1 calls ``reopen_logs``,
        if it would end the process otherwise. Does nothing outside the main thread (signal(7))."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = [
            (number, signal.signal(number, partial(self._handle, stop))) for number in numbers
        ]
        if reopen_logs is not None and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            handler = signal.signal(signal.SIGUSR1, lambda *_: reopen_logs())
            before.append((signal.SIGUSR1, handler))
        _BEFORE.append(before)
        try:
            yield
        finally:
            if before in _BEFORE:
                _BEFORE.remove(before)
                _restore(before)

    def _handle(self, stop: Callable[[int], bool], number: int, frame: FrameType | None) -> None:
        if self._watchdog.sent_signal():
            return
        self._count += 1
        if self._count > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._watchdog.end_process()
        if not stop(number):
            self._count -= 1


def _restore(handlers: Handlers) -> None:
    for number, handler in handlers:
        signal.signal(number, handler)


@contextmanager
def signal_wakeup(loop: EventLoop) -> Iterator[None]:
    """Let signals wake ``loop``, even if they come just before it waits (signal.set_wakeup_fd)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(loop.wakeup_fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if not loop.inherited:
            signal.set_wakeup_fd(before)
