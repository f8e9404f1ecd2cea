"""Being asked to go: Ctrl-C and its kin, for commands that have processes to end first."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_leaving(
    handler: Callable[[int, Any], object] = signal.default_int_handler,
) -> Iterator[None]:
    """Handle Ctrl-C, and the other signals that ask a program to go, for they would end this
    process at once and leave the server beside it behind. By default they raise KeyboardInterrupt.
    """
    wanted = [number for number in _LEAVE if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
