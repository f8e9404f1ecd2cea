"""Sends the messages of an open loop when they are due, whoever has answered or not."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic_ns

from epollo.bench.conversation import Conversation
from epollo.bench.ledger import NEVER, SECOND
from epollo.engine import EventLoop
from epollo.engine.alarm import Alarm
from epollo.engine.events import READ

_AT_ONCE = 256  # messages sent before the sockets are looked at again


class Pacer:
    """Wakes the loop for each message, and sends it on the connections in turn.

    By a timer of nanoseconds (timerfd_create(2)): a poller's timeout is rounded to milliseconds.
    """

    def __init__(self, loop: EventLoop, times: Iterator[float]) -> None:
        self._loop = loop
        self._times = times
        self._exchanges: list[Conversation] = []
        self._turn = 0
        self._start = 0  # ns
        self._due = NEVER  # ns
        self.sent_at = 0  # ns; the last message
        self._alarm = Alarm()
        loop.watch(self._alarm.fd, self, READ)

    @property
    def due(self) -> int:
        """When the next message is, in ns; NEVER where there is none, or nobody to send it to."""
        return self._due if self._exchanges else NEVER

    def start(self, at: int) -> None:
        """The times count from ``at`` ns on."""
        self._start = at
        self._plan()
        self._set_alarm()

    def stop(self) -> None:
        """Send no more."""
        self._due = NEVER
        self._set_alarm()

    def add(self, exchange: Conversation) -> None:
        """Send on that one too."""
        self._exchanges.append(exchange)
        self._set_alarm()

    def remove(self, exchange: Conversation) -> None:
        """Send on that one no more, if it ever was sent on."""
        if exchange in self._exchanges:
            self._exchanges.remove(exchange)

    def ready(self, events: int) -> None:
        """The time has come."""
        self._alarm.ready(events)
        self._send_due()
        self._set_alarm()

    def abort(self) -> None:
        """The loop is closed."""
        self._alarm.abort()

    def _send_due(self) -> None:
        now = monotonic_ns()
        for _ in range(_AT_ONCE):
            if self._due > now or not self._exchanges:
                return
            self._turn = (self._turn + 1) % len(self._exchanges)
            exchange, due = self._exchanges[self._turn], self._due
            self._plan()
            self.sent_at = now
            exchange.send(due)
            if exchange.retired:  # a connection that closes would lose what is sent on it
                self._exchanges.remove(exchange)

    def _plan(self) -> None:
        seconds = next(self._times, None)
        self._due = NEVER if seconds is None else self._start + round(seconds * SECOND)

    def _set_alarm(self) -> None:
        """For what is due next, if there is anybody to send it to."""
        self._alarm.set(None if self.due == NEVER else self._due / SECOND)
