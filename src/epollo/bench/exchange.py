"""One connection of a run: sends, waits for the replies, verifies and times each."""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING

from epollo.bench.payload import Fault
from epollo.engine import CloseReason, Connection
from epollo.errors import ConnectionClosed

if TYPE_CHECKING:
    from epollo.bench.driver import Driver


class Exchange:
    """The protocol of one connection in a closed loop: a reply calls for the next message.

    Every message sent leaves by one of three doors: answered rightly, answered wrongly, or
    unanswered. Each of them counts it, and records its time, once.
    """

    __slots__ = (
        "_driver",
        "_index",
        "_late",
        "_mistaken",
        "_next",
        "_outstanding",
        "answered",
        "connection",
        "first_reply",
        "framing",
        "idle",
        "lacking",
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
        self._late: list[tuple[int, bytes]] = []  # passed over: a later one was answered before
        self._mistaken: tuple[Fault, int, bytes] | None = None  # the last one answered wrongly
        self.connection: Connection | None = None
        self.answered = 0  # measured replies
        self.lacking = driver.workload.depth  # so many replies call for one message more
        self.idle = False  # has all its replies, and may send no more
        self.started = monotonic_ns()
        self.opened: int | None = None  # ns from the start of the connect to its end
        self.first_reply: int | None = None  # ns from the start of the connect

    def connected(self, connection: Connection) -> None:
        if connection.sockname == connection.peername:
            # Nobody listens on that port, and the kernel took the very same for this side: a
            # connection to itself (RFC 9293, 3.5, simultaneous open), and a perfect echo.
            connection.abort(CloseReason.REFUSED)
            return
        self.connection = connection
        self.opened = monotonic_ns() - self.started
        self._send_next(connection)

    def received(self, reply: bytes, connection: Connection) -> bytes | None:
        """Verify and time one reply; returns the message to be sent for it."""
        now = monotonic_ns()
        driver = self._driver
        if not self._outstanding or reply != self._outstanding[0][1]:
            return self._mismatch(reply, connection, now)
        sent, _ = self._outstanding.popleft()
        if sent >= driver.measure_from:
            self.answered += 1
            driver.histogram.record(now - sent)
        if self.lacking:
            self._send_one_more(connection, now)
        return self._message(now)

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.connection = None
        self._driver.exchange_closed(self, reason, connection.error)

    def overdue(self, before: int) -> bool:
        """Does the oldest message, or the connect, wait since a time before that?"""
        if self._outstanding:
            return self._outstanding[0][0] < before
        return self.opened is None and self.started < before

    def abandon_late(self, before: int) -> None:
        """Give up the replies passed over and sent before that: others came, these will not."""
        while self._late and self._late[0][0] < before and self.connection is not None:
            self._driver.unanswered(self._late.pop(0)[0])
            try:
                self._send_next(self.connection)
            except ConnectionClosed:  # by a fault, and still to tell why
                return

    def abandon(self) -> None:
        """Give up all the replies still missing."""
        for sent, _ in (*self._late, *self._outstanding):
            self._driver.unanswered(sent)
        self._late.clear()
        self._outstanding.clear()

    def _send_next(self, connection: Connection) -> None:
        message = self._message(monotonic_ns())
        if message is not None:
            connection.send(message)

    def _message(self, now: int) -> bytes | None:
        if not self._driver.may_send(now):
            if not (self._outstanding or self._late or self.idle):
                self.idle = True
                self._driver.exchange_idle()
            return None
        message = self._driver.payload.message(self._index, self._next, now)
        self._next += 1
        self._outstanding.append((now, message))
        return message

    def _served(self, now: int) -> None:
        """The first reply: only now is it known that the peer has accepted the connection."""
        self.first_reply = now - self.started
        self._driver.exchange_served()

    def _send_one_more(self, connection: Connection, now: int) -> None:
        """Until the depth is reached, a reply calls for two messages. All of them at once, on all
        the connections, would be a burst that keeps the loop from its sockets."""
        if self.first_reply is None:
            self._served(now)
        self.lacking -= 1
        if self.lacking:
            self._send_next(connection)
        else:
            self._driver.exchange_filled()

    def _mismatch(self, reply: bytes, connection: Connection, now: int) -> bytes | None:
        """What a reply stands for that is not the oldest message outstanding."""
        if self.first_reply is None:
            self._served(now)
        if self._pass_over(reply):
            return self.received(reply, connection)
        for entry in self._late:
            if entry[1] == reply:
                self._late.remove(entry)
                return self._settle(Fault.WRONG_ORDER, entry, connection, now)
        if self._mistaken is not None and self._mistaken[2] == reply:
            self._correct_mistake(*self._mistaken)
            return None
        expected = self._outstanding[0][1] if self._outstanding else None
        fault = self._driver.payload.fault(reply, expected, self._index, self._next)
        if fault in (Fault.DUPLICATE, Fault.EXTRA):
            self._driver.count(fault)
            return None
        entry = self._outstanding.popleft()
        self._mistaken = fault, *entry
        return self._settle(fault, entry, connection, now)

    def _pass_over(self, reply: bytes) -> bool:
        """Is it the answer to a later message? Then those before it are late, or lost."""
        for place, (_, message) in enumerate(self._outstanding):
            if message == reply:
                self._late += [self._outstanding.popleft() for _ in range(place)]
                return True
        return False

    def _settle(
        self, fault: Fault, entry: tuple[int, bytes], connection: Connection, now: int
    ) -> bytes | None:
        """Count a message as answered wrongly; returns the message to be sent for it."""
        self._driver.count(fault)
        self._driver.record(entry[0], now)
        if self.lacking:
            self._send_one_more(connection, now)
        return self._message(now)

    def _correct_mistake(self, fault: Fault, sent: int, _: bytes) -> None:
        """The right reply has come after all: what was taken for it was one too many."""
        self._mistaken = None
        self._driver.count(fault, -1)
        self._driver.count(Fault.EXTRA)
        if sent >= self._driver.measure_from:
            self.answered += 1
