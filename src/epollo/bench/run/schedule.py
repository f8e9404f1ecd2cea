"""The schedule of an open loop: when each message is due, and on which connections it may go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from epollo.bench.run.connection import BenchConnection
from epollo.bench.run.metrics import NEVER
from epollo.engine import EventLoop
from epollo.engine.events import READ
from epollo.engine.wakeup import Alarm


class Schedule:
    """The part of a pacer that no message passes through.

    It wakes the loop with a timer of nanoseconds (timerfd_create(2)): the timeout of a poller is
    rounded to milliseconds.
    """

    # What the backend adds:
    due_at: int  # ns, of the next message; NEVER if there is none
    start_at: int  # ns; ``times`` count from here
    sent_at: int  # ns, of the last message
    index: int  # in ``connections``, of the one that was sent on last
    connections: list[BenchConnection]
    loop: EventLoop
    alarm: Alarm
    times: Iterator[float]  # seconds
    ready: Callable[[int], None]  # the timer fired: sends the due messages, a bounded number
    advance: Callable[[], None]  # takes the next of ``times``
    set_alarm: Callable[[], None]  # to the next message, if there is a connection

    def __init__(self, loop: EventLoop, times: Iterator[float]) -> None:
        self.loop = loop
        self.times = times
        self.connections = []
        self.index = self.start_at = self.sent_at = 0
        self.due_at = NEVER
        self.alarm = Alarm()
        loop.watch(self.alarm.fd, self, READ)

    @property
    def due(self) -> int:
        """When to wake up, in ns; NEVER without a message or without a connection."""
        return self.due_at if self.connections else NEVER

    def start(self, at: int) -> None:
        """Start at ``at`` ns."""
        self.start_at = at
        self.advance()
        self.set_alarm()

    def stop(self) -> None:
        """Send no more."""
        self.due_at = NEVER
        self.set_alarm()

    def unsent(self, before: int) -> Iterator[int]:
        """The due time of each message due before ``before`` ns that was not sent."""
        while self.due_at < before:
            yield self.due_at
            self.advance()

    def add(self, connection: BenchConnection) -> None:
        """Send on this connection too."""
        self.connections.append(connection)
        self.set_alarm()

    def remove(self, connection: BenchConnection) -> None:
        """Stop sending on this connection, if it was added."""
        if connection in self.connections:
            self.connections.remove(connection)

    def abort(self) -> None:
        """The loop is closed."""
        self.alarm.abort()
