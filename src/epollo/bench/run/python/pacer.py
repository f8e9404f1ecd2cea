"""Sends the messages of an open loop when they are due, whoever has answered or not."""

from __future__ import annotations

from time import monotonic_ns

from epollo.bench.run.metrics import NEVER, SECOND
from epollo.bench.run.schedule import Pacing

_AT_ONCE = 64  # messages sent before the sockets are looked at again


class Pacer(Pacing):
    """Wakes the loop for each message, and sends it on the connections in turn."""

    def ready(self, events: int) -> None:
        """The time has come."""
        self.alarm.ready(events)
        now = monotonic_ns()
        for _ in range(_AT_ONCE):
            if self.due_at > now or not self.exchanges:
                break
            self.turn = (self.turn + 1) % len(self.exchanges)
            exchange, due = self.exchanges[self.turn], self.due_at
            self.sent_at = now
            self.plan_next()
            exchange.send(due)
            if exchange.retired:  # a connection that closes would lose what is sent on it
                self.remove(exchange)
            now = monotonic_ns()
        self.set_alarm()

    def plan_next(self) -> None:
        """What is due next."""
        seconds = next(self.times, None)
        self.due_at = NEVER if seconds is None else self.start_at + round(seconds * SECOND)

    def set_alarm(self) -> None:
        """For what is due next, if there is anybody to send it to."""
        self.alarm.set(None if self.due == NEVER else self.due / SECOND)
