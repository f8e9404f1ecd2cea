"""Sends the messages of an open loop when they are due, without waiting for replies."""

from __future__ import annotations

from time import monotonic_ns

from epollo.bench.run.metrics import NEVER, SECOND
from epollo.bench.run.schedule import Schedule

_AT_ONCE = 64  # messages sent before the sockets are polled again


class Pacer(Schedule):
    """Wakes the loop for each message, and sends it on the connections in turn."""

    index: int
    sent_at: int
    due_at: int

    def ready(self, events: int) -> None:
        """The timer fired: send what is due."""
        self.alarm.ready(events)
        now = monotonic_ns()
        for _ in range(_AT_ONCE):
            if self.due_at > now or not self.connections:
                break
            self.index = (self.index + 1) % len(self.connections)
            connection, due = self.connections[self.index], self.due_at
            self.sent_at = now
            self.advance()
            connection.send(due)
            if connection.retired:  # it will close, and would lose any later message
                self.remove(connection)
            now = monotonic_ns()
        self.set_alarm()

    def advance(self) -> None:
        """Take the next due time."""
        seconds = next(self.times, None)
        self.due_at = NEVER if seconds is None else self.start_at + round(seconds * SECOND)

    def set_alarm(self) -> None:
        """Set the timer to the next message, if there is a connection to send it on."""
        self.alarm.set(None if self.due == NEVER else self.due / SECOND)
