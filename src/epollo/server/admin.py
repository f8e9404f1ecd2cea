"""The addresses at which a running server is asked about itself, and steered."""

from __future__ import annotations

from contextlib import ExitStack

from epollo.control.inquirer import Inquirer
from epollo.engine import EventLoop
from epollo.settings import Settings


class Admin:
    """What ``metrics`` and ``control`` of the settings ask for, on the loop of a server or of a
    supervisor. Raises BindError."""

    def __init__(self, loop: EventLoop, settings: Settings, inquirer: Inquirer) -> None:
        with ExitStack() as opened:
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Answer nothing more. In the loop's thread, or once it is over."""
        self._opened.close()
