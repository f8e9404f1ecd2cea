"""The plan of an open loop: when what is due, and on whom it may be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from epollo.bench.run.connection import Conversation
from epollo.bench.run.metrics import NEVER
from epollo.engine import EventLoop
from epollo.engine.events import READ
from epollo.engine.wakeup import Alarm


class Pacing:
    """The part of a pacer that no message passes through.

    It wakes the loop by a timer of nanoseconds (timerfd_create(2)): a poller's timeout is rounded
    to milliseconds.
    """

    # What the room adds:
    due_at: int  # ns; what is due next; NEVER where nothing is
    start_at: int  # ns; the times count from there on
    sent_at: int  # ns; the last message
    turn: int  # of the exchanges, the one that was sent on last
    exchanges: list[Conversation]
    loop: EventLoop
    alarm: Alarm
    times: Iterator[float]  # seconds
    ready: Callable[[int], None]  # the time has come: sends what is due, a bounded number at once
    plan_next: Callable[[], None]  # takes the next of the times
    set_alarm: Callable[[], None]  # for what is due next, if there is anybody to send it to

    def __init__(self, loop: EventLoop, times: Iterator[float]) -> None:
        self.loop = loop
        self.times = times
        self.exchanges = []
        self.turn = self.start_at = self.sent_at = 0
        self.due_at = NEVER
        self.alarm = Alarm()
        loop.watch(self.alarm.fd, self, READ)

    @property
    def due(self) -> int:
        """When the next message is, in ns; NEVER where there is none, or nobody to send it to."""
        return self.due_at if self.exchanges else NEVER

    def start(self, at: int) -> None:
        """The times count from ``at`` ns on."""
        self.start_at = at
        self.plan_next()
        self.set_alarm()

    def stop(self) -> None:
        """Send no more."""
        self.due_at = NEVER
        self.set_alarm()

    def left(self, before: int) -> Iterator[int]:
        """When each message is due that should have been sent before that time, and was not."""
        while self.due_at < before:
            yield self.due_at
            self.plan_next()

    def add(self, exchange: Conversation) -> None:
        """Send on that one too."""
        self.exchanges.append(exchange)
        self.set_alarm()

    def remove(self, exchange: Conversation) -> None:
        """Send on that one no more, if it ever was sent on."""
        if exchange in self.exchanges:
            self.exchanges.remove(exchange)

    def abort(self) -> None:
        """The loop is closed."""
        self.alarm.abort()
