"""One connection of a run, message by message: sends, waits for the replies, times each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

from epollo.bench.run.connection import Conversation, Entry
from epollo.bench.run.metrics import NEVER
from epollo.engine import Connection

if TYPE_CHECKING:
    from epollo.bench.run.driver import Driver


class Exchange(Conversation):
    """The protocol of one connection.

    Every message sent leaves by one of three doors: answered rightly, answered wrongly, or
    unanswered. Each of them counts it, and records its time, once.
    """

    __slots__ = (
        "_entries",
        "_message",
        "_verify",
        "answered",
        "connection",
        "driver",
        "filters",
        "first_reply",
        "framing",
        "given_up",
        "idle",
        "lacking",
        "late",
        "limits",
        "mistaken",
        "number",
        "opened",
        "serial",
        "slot",
        "started",
        "tally",
        "watched",
    )

    def __init__(self, driver: Driver, serial: int, slot: int, lacking: int) -> None:
        self.framing = driver.framing
        self.limits = driver.limits
        self.filters = driver.dialer.filters
        self.tally = driver.tally
        self._message: Callable[[int, int, int], bytes] = driver.messages.message
        self._verify = driver.expectation.verify
        self._entries: deque[Entry] = deque()
        self.number = self.answered = 0
        self.prepare(driver, serial, slot, lacking)

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Time one reply, if it is the right one; returns the message to be sent for it."""
        now = monotonic_ns()
        entries, verify, tally = self._entries, self._verify, self.tally
        if not entries or not (
            reply == entries[0][2] if verify is None else verify(entries[0][2], reply)
        ):
            return self.mismatch(reply, connection, now)
        due, sent, _ = entries.popleft()
        tally.answered(due, sent, now, len(reply))
        self.answered += due >= tally.begin
        if self.watched:
            return self.go_on(now)
        message = None if tally.open_loop else self.next_message(now)
        if message is None and not tally.sending:
            self.rest()
        return message

    def next_message(self, due: int) -> bytes | None:
        """The message due at that time, which is to be sent now; None where there is none."""
        if not self.tally.admit(due):
            return None
        message = self._message(self.serial, self.number, due)
        self.number += 1
        self._entries.append((due, self.tally.left(due, len(message)), message))
        return message

    def outstanding(self) -> int:
        """How many messages are."""
        return len(self._entries)

    def awaited(self) -> bytes | None:
        """The oldest message outstanding; None where there is none."""
        return self._entries[0][2] if self._entries else None

    def place_of(self, reply: bytes) -> int:
        """Which of those outstanding is that message, from 0; -1: none."""
        messages = [message for _, _, message in self._entries]
        return messages.index(reply) if reply in messages else -1

    def oldest(self) -> int:
        """When the oldest of them was sent, in ns; NEVER where there is none."""
        return self._entries[0][1] if self._entries else NEVER

    def drop(self, count: int) -> list[Entry]:
        """Take the oldest ones off."""
        self.tally.outstanding -= count
        return [self._entries.popleft() for _ in range(count)]
