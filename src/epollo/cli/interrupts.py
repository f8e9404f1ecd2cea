"""Ctrl-C and similar signals, for commands that have child processes to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
