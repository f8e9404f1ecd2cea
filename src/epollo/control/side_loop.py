"""A loop within another one, to watch and steer the server by.

Its connections are not among the server's, which ends, counts and limits its own. It takes a small
part of the time, whatever its peers do: they delay no message for long.
"""

from __future__ import annotations

import time

from epollo.engine import EventLoop, new_loop
from epollo.engine.events import READ

_SHARE = 4
"""The outer loop has this many times as long, after some turns, before the next one."""

_LONGEST = 0.0005  # seconds of turns without a pause


class SideLoop:
    """A loop that is one descriptor in ``outer``. Raises EngineMissing on other systems than Linux.

    Attributes:
        loop: the inner one, to be used in the thread of the other.
    """

    def __init__(self, outer: EventLoop) -> None:
        self._outer = outer
        self._watched = self._closed = False
        self._spent = 0.0  # seconds since the last pause
        self.loop: EventLoop = new_loop("python")

    def begin(self) -> None:
        """This process serves; one that it forks does not (`EventLoop.begin`)."""
        self.loop.begin()
        self._watch()

    def ready(self, events: int) -> None:
        """The outer loop calls this."""
        began = time.monotonic()
        self.loop.poll(0)
        self._spent += time.monotonic() - began
        if self._spent > _LONGEST and self._watched:
            self._unwatch()
            self._outer.call_later(self._spent * _SHARE, self._watch)
            self._spent = 0.0

    def abort(self) -> None:
        """The outer loop is closed."""
        self._watched = False

    def close(self) -> None:
        """In the thread of both, or once the outer one is over."""
        if self._watched:
            self._unwatch()
        if not self._closed:
            self._closed = True
            self.loop.close()

    def _watch(self) -> None:
        if not self._closed:
            self._outer.watch(self.loop.fileno(), self, READ)
            self._watched = True

    def _unwatch(self) -> None:
        self._outer.unwatch(self.loop.fileno())
        self._watched = False
