"""The start of the ``epollo`` command: Ctrl-C while it loads ends it without a traceback.

This module is outside the package because importing `epollo.cli.main` and click takes most of the
time of a short command. During that time nothing is started that would need an orderly end.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

_INTERRUPTED = 130  # as in a shell: 128 plus the number of SIGINT


def main() -> NoReturn:
    """Load the command and run it; exits."""
    # With a handler: an import may swallow KeyboardInterrupt, or turn it into another error.
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if default:
        signal.signal(signal.SIGINT, _exit_now)
    from epollo.cli.main import main as run

    try:
        if default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


def _exit_now(number: int, frame: object) -> NoReturn:
    os._exit(_INTERRUPTED)
