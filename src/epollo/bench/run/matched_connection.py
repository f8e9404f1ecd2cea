"""One connection of a run whose replies are matched by an identifier, in whatever order they come.

The backend adds the work per message; here is what only unexpected replies and timeouts need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from itertools import islice, takewhile
from time import monotonic_ns

from epollo.bench.load.payload import Fault
from epollo.bench.run.connection import BenchConnection, Entry
from epollo.bench.run.metrics import NEVER
from epollo.client.match import describe
from epollo.errors import SettingError
from epollo.plurals import counted

REMEMBERED = 64
"""Identifiers of the messages of a connection answered last: a reply to one of them is a duplicate.
One that comes later is counted as an extra reply."""

_NO_SLOTS: tuple[str, ...] = ()


class MatchedConnection(BenchConnection):
    """The part of a connection that correct replies do not pass through."""

    __slots__ = _NO_SLOTS

    first_reply: int | None

    # What the backend adds:
    waiting: dict[Hashable, Entry]  # the messages outstanding, oldest first
    answered_last: deque[Hashable]  # identifiers
    last_reply: int  # ns
    skipped: int  # numbers not used, because their identifiers were those of others outstanding
    make_message: Callable[[int], bytes]  # the next one, due at that time in ns

    @property
    def pending(self) -> bool:
        return bool(self.waiting or self.greeting_due)

    def outstanding(self) -> int:
        """The number of messages outstanding."""
        return len(self.waiting)

    def oldest_sent(self) -> int:
        """When the oldest message outstanding was sent, in ns; NEVER if there is none."""
        return next(iter(self.waiting.values()))[1] if self.waiting else NEVER

    def drop(self, count: int) -> list[Entry]:
        """Remove and return the oldest ``count`` messages outstanding."""
        return [self._remove(identifier) for identifier in list(islice(self.waiting, count))]

    def overdue(self, before: int) -> bool:
        """Has nothing come since before that time, while a reply or the connect was pending?"""
        if self.connect_time is None:
            return self.started < before
        return self.oldest_sent() < before and self.last_reply < before

    def abandon_overtaken(self, before: int) -> None:
        """Give up the messages sent before that time: replies to others have come since."""
        late = takewhile(lambda item: item[1][1] < before, self.waiting.items())
        for identifier, _ in list(late):
            if self.transport is None:  # `abandon` gives up the others
                return
            self.context.expired.add(self.serial, identifier)
            self.give_up(self._remove(identifier))

    def another_message(self, due: int) -> tuple[Hashable, bytes]:
        """Another message outstanding has the identifier of the next one: skip numbers until it is
        free. Returns the identifier and the message. Raises SettingError if none is."""
        assert self.context.match is not None
        for _ in range(len(self.waiting) + 1):
            self.skipped += 1
            message = self.make_message(due)
            identifier = self.context.match.get(message)
            if identifier not in self.waiting:
                return identifier, message
        raise SettingError(
            f"match: all identifiers are taken, with {counted(len(self.waiting), 'message')} "
            f"outstanding, such as {describe(identifier)}; use a longer identifier, or a stamp"
        )

    def unknown_reply(self, identifier: Hashable | None) -> None:
        """No message outstanding has the identifier of a reply: count what it is."""
        if self.first_reply is None:
            self.first_reply = monotonic_ns() - self.started
            self.listener.on_first_reply(self)
        if identifier is not None and self.context.expired.match(self.serial, identifier):
            return  # late: counted already, as unanswered
        repeated = identifier is not None and identifier in self.answered_last
        self.counters.count(Fault.DUPLICATE if repeated else Fault.EXTRA)

    def wrong_reply(self, identifier: Hashable, reply: bytes) -> bytes | None:
        """The reply to a message is not correct: returns the message to send next."""
        entry = self._remove(identifier)
        self.answered_last.append(identifier)
        self.last_reply = monotonic_ns()
        short = self.context.expectation.echo and entry[2].startswith(reply)
        fault = Fault.SHORT if short else Fault.WRONG_BYTES
        return self.settle_wrong(fault, entry, self.last_reply)

    def _remove(self, identifier: Hashable) -> Entry:
        self.counters.count_dropped(1)
        return self.waiting.pop(identifier)
