"""One connection of a run whose replies are matched by an identifier, message by message."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from time import monotonic_ns
from typing import Any

from epollo.bench.run.connection import Entry
from epollo.bench.run.matched_connection import REMEMBERED, MatchedConnection
from epollo.bench.run.python.pipeline import Pipeline
from epollo.engine import Connection


class MatchedPipeline(MatchedConnection, Pipeline):
    """The messages outstanding on one connection, by identifier, and what a reply does to them.

    Every message sent ends in exactly one way, as in `Pipeline`.
    """

    __slots__ = (
        "_get",
        "_get_reply",
        "_stamp",
        "answered_last",
        "last_reply",
        "skipped",
        "waiting",
    )

    answered: int
    answered_last: deque[Hashable]
    last_reply: int
    number: int
    skipped: int
    waiting: dict[Hashable, Entry]

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        match = self.context.match
        assert match is not None
        self._get = match.get
        self._get_reply = match.get_reply or match.get
        self._stamp = match.stamp
        self.waiting = {}
        self.answered_last = deque(maxlen=REMEMBERED)
        self.last_reply = self.skipped = 0

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Find the message that a reply answers; if it is correct, record its time and return the
        next message."""
        if self.greeting_due:
            self.count_greeting()
            return None
        now = monotonic_ns()
        identifier = self._get_reply(reply)
        entry = self.waiting.get(identifier)
        if entry is None:
            self.unknown_reply(identifier)
            return None
        due, sent, message = entry
        verify, counters = self._verify, self.counters
        if not (reply == message if verify is None else verify(message, reply)):
            return self.wrong_reply(identifier, reply)
        del self.waiting[identifier]
        self.answered_last.append(identifier)
        self.last_reply = now
        counters.count_reply(due, sent, now, len(reply))
        self.answered += due >= counters.begin
        if self.watched:
            return self.continue_after_reply(now)
        following = None if counters.open_loop else self.next_message(now)
        if following is None and not counters.sending:
            self.finish_if_idle()
        return following

    def next_message(self, due: int) -> bytes | None:
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        if not self.counters.admit(due):
            return None
        message = self.make_message(due)
        identifier = self._get(message)
        if identifier in self.waiting:
            identifier, message = self.another_message(due)
        self.number += 1
        self.waiting[identifier] = due, self.counters.count_sent(due, len(message)), message
        return message

    def make_message(self, due: int) -> bytes:
        """The next message, due at ``due`` ns, with its identifier."""
        number = self.number + self.skipped
        message = self._message(self.serial, number, due)
        return message if self._stamp is None else self._stamp(message, number)
