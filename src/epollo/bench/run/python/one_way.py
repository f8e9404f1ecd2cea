"""One connection of a run without replies, message by message."""

from __future__ import annotations

from epollo.bench.load.payload import Fault
from epollo.bench.run.one_way_connection import OneWayConnection
from epollo.bench.run.python.pipeline import Pipeline
from epollo.engine import Connection


class OneWayPipeline(OneWayConnection, Pipeline):
    """Sends messages, and expects no replies."""

    __slots__ = ()

    answered: int
    number: int

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Count a reply, which nobody expected, or a part of the greeting."""
        if self.greeting_due:
            self.count_greeting()
        else:
            self.counters.count(Fault.EXTRA)
        return None

    def next_message(self, due: int) -> bytes | None:
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        counters = self.counters
        if not counters.admit(due):
            return None
        message = self._message(self.serial, self.number, due)
        self.number += 1
        sent = counters.count_sent(due, len(message))
        counters.count_reply(due, sent, sent, 0)
        self.answered += due >= counters.begin
        return message
