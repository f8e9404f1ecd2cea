"""One connection of a run, message by message: sends, matches replies, records their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic_ns

from epollo.bench.run.connection import BenchConnection, ConnectionListener, Entry
from epollo.bench.run.context import RunContext
from epollo.bench.run.metrics import NEVER
from epollo.bench.run.python.counters import MessageCounters
from epollo.engine import Connection, Limits
from epollo.filters.base import Filter
from epollo.framing import Framing


class Pipeline(BenchConnection):
    """The messages outstanding on one connection, oldest first, and what a reply does to them.

    Every message sent ends in exactly one way: answered correctly, answered wrongly, or
    unanswered. Each way counts it, and records its time, once.
    """

    __slots__ = (
        "_entries",
        "_message",
        "_verify",
        "answered",
        "connect_time",
        "context",
        "counters",
        "filters",
        "first_reply",
        "framing",
        "greeting_due",
        "idle",
        "last_wrong",
        "limits",
        "listener",
        "number",
        "overtaken",
        "preamble",
        "ramp_remaining",
        "serial",
        "slot",
        "started",
        "timed_out",
        "transport",
        "watched",
    )

    counters: MessageCounters
    number: int
    answered: int

    def __init__(
        self,
        context: RunContext,
        listener: ConnectionListener,
        serial: int,
        slot: int,
        ramp_remaining: int,
    ) -> None:
        assert isinstance(context.counters, MessageCounters)
        self.framing: Framing = context.framing
        self.limits: Limits = context.limits
        self.filters: Callable[[Connection], Sequence[Filter]] | None = context.filters
        self.counters = context.counters
        self._message: Callable[[int, int, int], bytes] = context.messages.message
        self._verify = context.expectation.verify
        self._entries: deque[Entry] = deque()
        self.number = self.answered = 0
        self.prepare(context, listener, serial, slot, ramp_remaining)

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Match one reply; if it is correct, record its time and return the next message."""
        now = monotonic_ns()
        entries, verify, counters = self._entries, self._verify, self.counters
        if not entries or not (
            reply == entries[0][2] if verify is None else verify(entries[0][2], reply)
        ):
            return self.mismatch(reply, connection, now)
        due, sent, _ = entries.popleft()
        counters.count_reply(due, sent, now, len(reply))
        self.answered += due >= counters.begin
        if self.watched:
            return self.continue_after_reply(now)
        message = None if counters.open_loop else self.next_message(now)
        if message is None and not counters.sending:
            self.finish_if_idle()
        return message

    def next_message(self, due: int) -> bytes | None:
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        if not self.counters.admit(due):
            return None
        message = self._message(self.serial, self.number, due)
        self.number += 1
        self._entries.append((due, self.counters.count_sent(due, len(message)), message))
        return message

    def outstanding(self) -> int:
        """The number of messages outstanding."""
        return len(self._entries)

    def oldest_message(self) -> bytes | None:
        """The oldest message outstanding; None if there is none."""
        return self._entries[0][2] if self._entries else None

    def index_of(self, reply: bytes) -> int:
        """The index of the message outstanding that equals ``reply``; -1 if there is none."""
        messages = [message for _, _, message in self._entries]
        return messages.index(reply) if reply in messages else -1

    def oldest_sent(self) -> int:
        """When the oldest message outstanding was sent, in ns; NEVER if there is none."""
        return self._entries[0][1] if self._entries else NEVER

    def drop(self, count: int) -> list[Entry]:
        """Remove and return the oldest ``count`` messages outstanding."""
        self.counters.count_dropped(count)
        return [self._entries.popleft() for _ in range(count)]
