"""Ctrl-C and similar signals: while a command loads, and while it has child processes to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_interrupt(
    handler: Callable[[int, Any], object] = signal.default_int_handler,
) -> Iterator[None]:
    """Handle SIGINT, SIGTERM and SIGHUP: by default they would end this process at once, without
    its child processes. The default ``handler`` raises KeyboardInterrupt.
    """
    wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Ctrl-C ends the process at once and in silence, unless it is ignored or handled already. For
    imports: one may swallow KeyboardInterrupt, or turn it into another error.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _exit_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_now(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)  # as in a shell
