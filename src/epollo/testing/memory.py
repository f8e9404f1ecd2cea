"""The Python engine's loop over a kernel in memory."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator

from epollo.engine.connection import BaseConnection
from epollo.engine.delayed_calls import cancel_calls
from epollo.engine.events import READ
from epollo.engine.python.loop import Loop
from epollo.engine.timers import Timers
from epollo.testing.protocol import outside_tasks

_NANOSECOND = 1e-9  # sums of delays are rounded: so much early is in time
_MOST_AT_ONCE = 1000  # turns with timers in which no time goes by


class MemoryKernel:
    """One socket, and the poller that watches it. The peer takes everything at once."""

    name = "memory"
    family = socket.AF_UNIX

    def __init__(self) -> None:
        self.unread: bytearray = bytearray()
        self.ended: bool = False  # the peer sends nothing more
        self.sent: list[bytes] = []  # one item per call of `send`
        self._events = 0

    # ---- The socket

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.unread and not self.ended:
            raise BlockingIOError
        data = bytes(self.unread[:size])
        if not flags & socket.MSG_PEEK:
            del self.unread[:size]
        return data

    def recv_into(self, buffer: memoryview) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def shutdown(self, how: int) -> None:
        """The peer sees the end of this side's stream, and ends its own."""
        self.ended = True

    def getsockopt(self, level: int, option: int) -> int:
        return 0  # SO_ERROR: no error

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """There is no descriptor to give back."""

    # ---- The poller

    def register(self, fd: int, events: int) -> None:
        self._events = events

    modify = register

    def unregister(self, fd: int) -> None:
        self._events = 0

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        ready = self._events & READ and (self.unread or self.ended)
        return [(self.fileno(), READ)] if ready else []


class MemoryLoop(Loop):
    """A loop that never waits, and keeps the errors of the handlers. The test moves its clock."""

    def __init__(self, kernel: MemoryKernel) -> None:
        self._kernel = kernel
        self._errors: deque[BaseException] = deque()
        super().__init__(kernel)
        self._now = 0.0  # seconds since it was made
        self._timers = Timers(lambda: self._now)
        self._heap = self._timers.heap
        self.on_error: Callable[[BaseException, str], object] = lambda *_: None  # `pass_on` has it

    def turn(self) -> bool:
        """Poll until nothing is left to do. Was there anything? Raises RuntimeError if timers
        without a delay make each other without an end."""
        busy, timed = False, 0
        while self._has_timers_due() or self._has_work():
            timed += self._has_timers_due()
            if timed > _MOST_AT_ONCE:
                raise RuntimeError(
                    "a call of call_later makes the next one with no delay, endlessly"
                )
            self._call_queue.append(_nothing)  # `poll` takes the time from another clock
            with outside_tasks():
                self.poll(0)
            busy = True
        return busy

    def moments(self, seconds: float) -> Iterator[None]:
        """Move the clock on by ``seconds``; yields at each moment at which a timer is due, and at
        the end, for `turn` to be called."""
        until = self._now + seconds
        while (when := self._timers.next) is not None and when <= until + _NANOSECOND:
            self._now = max(self._now, when)
            yield
        self._now = max(self._now, until)
        yield

    def end(self) -> None:
        """Make no call any more."""
        for owner in tuple(self.delayed_calls):
            cancel_calls(self, owner)
        self._timers.clear()
        self.on_ticks_needed: Callable[[], object] | None = None

    def _has_work(self) -> bool:
        return bool(self._to_close or self.to_flush or self._call_queue or self._kernel.poll())

    def _has_timers_due(self) -> bool:
        when = self._timers.next
        return when is not None and when <= self._now

    def raise_errors(self) -> None:
        """Raise what handlers have raised; each of several errors is the context of the next."""
        if self._errors:
            try:
                raise self._errors.popleft()
            finally:
                self.raise_errors()

    def pass_on(self, error: BaseException) -> None:
        """Keep it for `raise_errors`."""
        self._errors.append(error)

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Make the call in the next turn."""
        self._call_queue.append(callback)

    def _watched(self, start: int, end: int) -> list[int]:
        """Its only connection has no descriptor."""
        return list(self._sources)

    def _watch_wakeup(self) -> None:
        """It never waits."""

    def _tell_closed(self, connection: BaseConnection) -> None:
        error = connection.error
        super()._tell_closed(connection)
        connection.error = error  # the test may ask for it


def _nothing() -> None:
    pass
