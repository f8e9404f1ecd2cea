"""One connection of a run: sends, waits for the replies, verifies and times each."""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING

from epollo.bench.payload import Fault
from epollo.engine import CloseReason, Connection

if TYPE_CHECKING:
    from epollo.bench.driver import Driver


class Exchange:
    """The protocol of one connection in a closed loop: a reply calls for the next message."""

    __slots__ = (
        "_driver",
        "_index",
        "_next",
        "_outstanding",
        "answered",
        "connection",
        "first_reply",
        "framing",
        "idle",
        "limits",
        "opened",
        "started",
    )

    def __init__(self, driver: Driver, index: int) -> None:
        self.framing = driver.framing
        self.limits = driver.limits
        self._driver = driver
        self._index = index
        self._next = 0
        self._outstanding: deque[tuple[int, bytes]] = deque()  # (sent at ns, message)
        self.connection: Connection | None = None
        self.answered = 0  # measured replies
        self.idle = False  # has all its replies, and may send no more
        self.started = monotonic_ns()
        self.opened: int | None = None  # ns from the start of the connect to its end
        self.first_reply: int | None = None  # ns from the start of the connect

    def connected(self, connection: Connection) -> None:
        self.connection = connection
        self.opened = monotonic_ns() - self.started
        self._driver.exchange_opened()
        for _ in range(self._driver.workload.depth):
            message = self._message(monotonic_ns())
            if message is not None:
                connection.send(message)

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Verify and time one reply; returns the message to be sent for it."""
        now = monotonic_ns()
        driver = self._driver
        if not self._outstanding or reply != self._outstanding[0][1]:
            return self._mismatch(reply, now)
        sent, _ = self._outstanding.popleft()
        if sent >= driver.measure_from:
            self.answered += 1
            driver.histogram.record(now - sent)
        if self.first_reply is None:
            self.first_reply = now - self.started
        return self._message(now)

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.connection = None
        self._driver.exchange_closed(self, reason, connection.error)

    def overdue(self, now: int) -> bool:
        """Has the oldest message, or the connect, waited for longer than the timeout?"""
        since = self._outstanding[0][0] if self._outstanding else self.started
        waiting = bool(self._outstanding) or self.opened is None
        return waiting and now - since > self._driver.workload.timeout * 1e9

    def abandon(self, now: int) -> list[int]:
        """Give up the replies still missing; returns how long each was waited for, in ns."""
        waited = [now - sent for sent, _ in self._outstanding if sent >= self._driver.measure_from]
        self._outstanding.clear()
        return waited

    def _message(self, now: int) -> bytes | None:
        if not self._driver.may_send(now):
            if not (self._outstanding or self.idle):
                self.idle = True
                self._driver.exchange_idle()
            return None
        message = self._driver.payload.message(self._index, self._next, now)
        self._next += 1
        self._outstanding.append((now, message))
        return message

    def _mismatch(self, reply: bytes, now: int) -> bytes | None:
        """Count what is wrong, and take from the outstanding what the reply stood for."""
        expected = self._outstanding[0][1] if self._outstanding else None
        answered = self._next - len(self._outstanding)
        fault = self._driver.payload.fault(reply, expected, answered)
        self._driver.count(fault)
        if fault in (Fault.DUPLICATE, Fault.EXTRA):
            return None
        for entry in self._outstanding:
            if entry[1] == reply:
                self._outstanding.remove(entry)
                break
        else:
            self._outstanding.popleft()
        return self._message(now)
