"""Opens the connections of a run, and those that replace them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from time import monotonic

from epollo.bench.run.connection import Conversation
from epollo.bench.run.dialer import Dialer
from epollo.engine import EventLoop
from epollo.errors import ConnectError

_AT_ONCE = 256
_RETRY_SECONDS = 0.01


class Opening:
    """Opens connections, a bounded number at once: an accept queue is not what is measured.

    One that has no reply yet may still be in that queue, though its connect succeeded. With a
    rate, no more than that are begun a second.
    """

    def __init__(
        self,
        loop: EventLoop,
        dialer: Dialer,
        rate: float | None,
        failed: Callable[[Conversation, ConnectError], object],
    ) -> None:
        self.halted = False
        self.waiting: list[Callable[[], Conversation]] = []  # each makes the one to be opened
        self.pausing = 0  # of which each will wait too, after a while
        self.unserved = 0  # begun, without a reply until now
        self._loop = loop
        self._dialer = dialer
        self._gap = 1 / rate if rate else 0.0
        self._next = -math.inf  # when another may be begun, of time.monotonic()
        self._failed = failed

    def want(self, make: Callable[[], Conversation], pause: float = 0.0) -> None:
        """Open one more, as soon as may be, after so many seconds; none once halted."""
        if self.halted:
            return
        if pause:
            self.pausing += 1
            self._loop.call_later(pause, partial(self._want_now, make))
        else:
            self.waiting.append(make)
            self.go_on()

    @property
    def opens(self) -> bool:
        """Will it open any more?"""
        return not self.halted and bool(self.waiting or self.pausing)

    def served(self) -> None:
        """One had its first reply, or never will."""
        self.unserved -= 1
        self.go_on()

    def go_on(self) -> None:
        """Begin as many as may be."""
        while self.waiting and self.unserved < _AT_ONCE and not self.halted:
            late = monotonic() - self._next
            if late < 0:
                self._loop.call_later(-late, self.go_on)
                return
            # One that is late takes the next one's time, but for what cannot be made up for.
            self._next = max(self._next + self._gap, monotonic() - self._gap)
            self.unserved += 1
            self._begin(self.waiting.pop(0)())

    def halt(self) -> int:
        """Open no more; returns how many waited to be."""
        self.halted = True
        count = len(self.waiting)
        self.waiting.clear()
        return count

    def _want_now(self, make: Callable[[], Conversation]) -> None:
        self.pausing -= 1
        self.want(make)

    def _begin(self, exchange: Conversation) -> None:
        try:
            sock = self._dialer.start()
        except ConnectError as error:
            # Later, for the caller may be counting what is open.
            if _is_queue_full(error):
                self._loop.call_later(_RETRY_SECONDS, partial(self._begin_again, exchange, error))
            else:
                self._loop.call_threadsafe(partial(self._failed, exchange, error))
        else:
            exchange.connection = self._loop.attach(sock, exchange)

    def _begin_again(self, exchange: Conversation, error: ConnectError) -> None:
        """The server is slow to accept: try again, as the kernel does of itself with TCP."""
        if self.halted or exchange.given_up:
            self._failed(exchange, error)
        else:
            self._begin(exchange)


def _is_queue_full(error: ConnectError) -> bool:
    """A Unix socket's: connect(2) gives EAGAIN, where a TCP connect waits."""
    return isinstance(error.__cause__, BlockingIOError)
