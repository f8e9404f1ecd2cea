"""What a process that serves tells systemd."""

from __future__ import annotations

from epollo.engine import EventLoop
from epollo.systemd import Notifier


class Notices(Notifier):
    """Tells systemd what this process does, and that its loop turns."""

    def begin(self, loop: EventLoop, ready_line: str) -> None:
        """It serves from now on. In the loop's thread."""
        self.ready(ready_line.removeprefix("epollo: "))
        self.watch(loop)

    def watch(self, loop: EventLoop) -> None:
        """Feed the watchdog, if there is one, as long as ``loop`` turns."""
        if self.watchdog_period:
            self.alive()
            loop.call_later(self.watchdog_period, lambda: self.watch(loop))
