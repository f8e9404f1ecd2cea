"""One connection of a run without replies: a message is done when it was sent."""

from __future__ import annotations

from time import monotonic_ns

from epollo.bench.run.connection import BenchConnection
from epollo.engine import Connection

_NO_SLOTS: tuple[str, ...] = ()


class OneWayConnection(BenchConnection):
    """The part of a connection that is the same on both engines. The backend adds ``next_message``,
    which counts the message as answered, and ``received``, which counts any reply as extra."""

    __slots__ = _NO_SLOTS

    transport: Connection | None

    @property
    def pending(self) -> bool:
        return bool(self.greeting_due)

    def send(self, due: int) -> None:
        """Send the message due at ``due`` ns."""
        super().send(due)
        if self.watched and self.transport is not None:
            self.continue_after_reply(monotonic_ns())

    def finish_if_idle(self) -> None:
        """Close once no more may be sent: the connection sends what is queued, and waits until the
        server has it."""
        if self.transport is not None and (self.retired or not self.counters.sending):
            connection, self.transport = self.transport, None
            connection.close()
