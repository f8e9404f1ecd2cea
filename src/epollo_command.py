"""The ``epollo`` command from its first moment on: Ctrl-C while it loads ends it without a word.

It stands beside the package, for that is what takes its time to load: all of `epollo.cli.main` and
what that imports is a fifth of a second, in which nothing is begun that would have to be ended.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

_INTERRUPTED = 130  # as a shell has it: 128 and the number of SIGINT


def main() -> NoReturn:
    """Load the command, and run it; exits."""
    # By a handler: an import may swallow KeyboardInterrupt, or make another error of it.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, _leave)
    from epollo.cli.main import main as run

    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(_INTERRUPTED)
