"""Opens the connections of a run, and their replacements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from epollo.bench.run.connection import BenchConnection
from epollo.bench.run.dialer import Dialer
from epollo.engine import EventLoop
from epollo.errors import ConnectError

_MOST_PENDING = 256
_RETRY_SECONDS = 0.01
_MADE_UP = 0.005  # seconds


class Opener:
    """Opens connections, a bounded number at once: the server's accept queue is not to be measured.

    A connection is pending until its first reply: its connect may succeed while it is still in that
    queue. ``rate`` limits how many are opened a second. The first one is opened after ``delay``
    seconds, so that those of several processes take turns.
    """

    def __init__(
        self,
        loop: EventLoop,
        dialer: Dialer,
        rate: float | None,
        failed: Callable[[BenchConnection, ConnectError], object],
        delay: float = 0.0,
    ) -> None:
        self.halted: bool = False
        self.queue: list[Callable[[], BenchConnection]] = []  # each makes a connection to open
        self.delayed: int = 0  # will join the queue after a pause
        self.pending: int = 0  # begun, without a reply so far
        self._loop = loop
        self._dialer = dialer
        self._gap = 1 / rate if rate else 0.0
        self._delay = delay
        self._next: float | None = None  # when the next may begin, of time.monotonic()
        self._failed = failed

    def open(self, make: Callable[[], BenchConnection], pause: float = 0.0) -> None:
        """Open one more as soon as allowed, ``pause`` seconds from now; none once halted."""
        if self.halted:
            return
        if pause:
            self.delayed += 1
            self._loop.call_later(pause, partial(self._open_delayed, make))
        else:
            self.queue.append(make)
            self.open_queued()

    @property
    def has_more(self) -> bool:
        """Will it open any more?"""
        return not self.halted and bool(self.queue or self.delayed)

    def release(self) -> None:
        """A pending connection had its first reply, or never will."""
        self.pending -= 1
        self.open_queued()

    def open_queued(self) -> None:
        """Begin as many as allowed."""
        while self.queue and self.pending < _MOST_PENDING and not self.halted:
            if wait := self._wait():
                self._loop.call_later(wait, self.open_queued)
                return
            self.pending += 1
            self._begin(self.queue.pop(0)())

    def _wait(self) -> float:
        """The seconds until the next may begin; if it may now, takes its turn.

        A timer that fires a little late is made up for by the next turn, but not a time without any
        connection to open: afterwards there would be too many a second.
        """
        if not self._gap:
            return 0.0
        now = monotonic()
        if self._next is None:
            self._next = now + self._delay
        late = now - self._next
        if late < 0:
            return -late
        self._next = (self._next if late < _MADE_UP else now) + self._gap
        return 0.0

    def halt(self) -> int:
        """Open no more; returns how many were queued."""
        self.halted = True
        count = len(self.queue)
        self.queue.clear()
        return count

    def _open_delayed(self, make: Callable[[], BenchConnection]) -> None:
        self.delayed -= 1
        self.open(make)

    def _begin(self, connection: BenchConnection) -> None:
        try:
            sock = self._dialer.start()
        except ConnectError as error:
            # Later, because the caller may be counting the open connections.
            if _is_queue_full(error):
                self._loop.call_later(_RETRY_SECONDS, partial(self._begin_again, connection, error))
            else:
                self._loop.call_threadsafe(partial(self._failed, connection, error))
        else:
            connection.transport = self._loop.attach(sock, connection)

    def _begin_again(self, connection: BenchConnection, error: ConnectError) -> None:
        """The accept queue was full: try again, as the kernel itself does for TCP."""
        if self.halted or connection.timed_out:
            self._failed(connection, error)
        else:
            self._begin(connection)


def _is_queue_full(error: ConnectError) -> bool:
    """For a Unix socket connect(2) gives EAGAIN, while a TCP connect waits."""
    return isinstance(error.__cause__, BlockingIOError)
