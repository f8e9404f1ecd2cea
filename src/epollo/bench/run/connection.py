"""One connection of a run, from its connect to its close, and what a wrong reply stands for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, TypeAlias

from epollo.bench.load.payload import Fault
from epollo.bench.run.metrics import NEVER
from epollo.engine import CloseReason, Connection, Limits
from epollo.errors import ConnectionClosed
from epollo.framing import Framing

if TYPE_CHECKING:
    from epollo.bench.run.driver import Driver
    from epollo.bench.run.python.tally import Tally

Entry: TypeAlias = tuple[int, int, bytes]
"""A message that is outstanding: when it was due and when it was sent, in ns, and its bytes."""


# A room keeps an exchange's data in its own way (the native one, in a struct), so none here.
_SLOTS_ARE_THE_ROOMS: tuple[str, ...] = ()


class Conversation:
    """The part of an exchange that replies do not pass through, but for the first and the wrong.

    ``lacking`` replies each call for one message more than they answer, until the depth is
    reached. ``watched``: a right reply calls for more than the next message.
    """

    __slots__ = _SLOTS_ARE_THE_ROOMS

    # What the engine adds:
    answered: int  # measured replies
    next_message: Callable[[int], bytes | None]
    received: Callable[[bytes, Connection], bytes | None]
    outstanding: Callable[[], int]  # messages
    awaited: Callable[[], bytes | None]  # the oldest of them
    place_of: Callable[[bytes], int]  # of that message among them; -1 where it is none
    drop: Callable[[int], list[Entry]]  # takes the oldest ones off
    oldest: Callable[[], int]  # when it was sent, in ns; NEVER where there is none

    framing: Framing
    limits: Limits
    driver: Driver
    tally: Tally
    serial: int
    slot: int  # which of the connections kept open it is
    number: int  # messages sent
    lacking: int
    watched: bool
    late: deque[Entry]  # passed over, for no longer than the timeout: a later one was answered
    mistaken: tuple[Fault, Entry, int] | None  # the last one answered wrongly, and when in ns
    connection: Connection | None
    idle: bool  # has all its replies, and may send no more
    given_up: bool  # for it did not answer in time
    started: int  # ns
    opened: int | None  # ns from the start of the connect to its end
    first_reply: int | None  # ns from the start of the connect

    def prepare(self, driver: Driver, serial: int, slot: int, lacking: int) -> None:
        """Set what is there before the connect."""
        self.driver = driver
        self.serial = serial
        self.slot = slot
        self.lacking = lacking
        self.watched = True
        self.late = deque()
        self.mistaken = None
        self.connection = None
        self.idle = self.given_up = False
        self.started = monotonic_ns()
        self.opened = self.first_reply = None

    @property
    def waits(self) -> bool:
        """Is a reply still to come?"""
        return self.oldest() < NEVER or bool(self.late)

    @property
    def retired(self) -> bool:
        """Has it sent all that one connection may?"""
        return self.number >= self.driver.retire_after

    def connected(self, connection: Connection) -> None:
        if connection.sockname == connection.peername != "":
            # Nobody listens on that port, and the kernel took the very same for this side: a
            # connection to itself (RFC 9293, 3.5, simultaneous open), and a perfect echo.
            connection.abort(CloseReason.REFUSED)
            return
        self.connection = connection
        self.opened = monotonic_ns() - self.started
        self.driver.connections.opened(self)

    def send(self, due: int) -> None:
        """Send the message that is due at that time, behind those sent before."""
        assert self.connection is not None
        message = self.next_message(due)
        if message is None:
            self.rest()
            return
        try:
            self.connection.send(message)
        except ConnectionClosed:  # by a fault, and still to tell why
            pass

    def go_on(self, now: int) -> bytes | None:
        """What follows a reply that is watched for; returns the message to be sent."""
        if self.first_reply is None:
            self.first_reply = now - self.started
            self.driver.connections.served(self)
        if self.lacking:
            self._fill()
            now = monotonic_ns()  # no two messages of a connection are due at once
        self.watched = bool(self.lacking) or self.driver.watches_all
        if self.retired or self.tally.open_loop:
            self.rest()
            return None
        if self.driver.workload.think:
            self.driver.later(self.driver.workload.think, self._after_thinking)
            return None
        message = self.next_message(now)
        if message is None:
            self.rest()
        return message

    def rest(self) -> None:
        """There may be no more to send: then this ends, once all replies are there."""
        if self.idle or self.waits:
            return
        if self.retired and self.connection is not None:
            self.connection.close()
        elif not self.tally.sending:
            self.idle = True
            self.driver.connections.idle()

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.connection = None
        self.driver.connections.closed(self, reason, connection.error)

    def overdue(self, before: int) -> bool:
        """Does the oldest message, or the connect, wait since a time before that?"""
        return self.oldest() < before or (self.opened is None and self.started < before)

    def abandon_late(self, before: int) -> None:
        """Give up the replies passed over and sent before that: others came, these will not."""
        while self.late and self.late[0][1] < before and self.connection is not None:
            entry = self.late.popleft()
            self.driver.forgone.add(self.serial, entry[2])
            self._unanswered(entry)
            if self.tally.open_loop or self.retired:
                self.rest()
            else:
                self.send(monotonic_ns())

    def abandon(self) -> None:
        """Give up all the replies still missing."""
        self._confirm_mistake()
        for entry in (*self.late, *self.drop(self.outstanding())):
            self._unanswered(entry)
        self.late.clear()

    def mismatch(self, reply: bytes, connection: Connection, now: int) -> bytes | None:
        """What a reply stands for that is not right for the oldest message outstanding."""
        now = monotonic_ns()  # later than all that was sent since the read, which is ``now``
        if self.first_reply is None:
            self.first_reply = now - self.started
            self.driver.connections.served(self)
        if not self.driver.echoes:
            return self._judged(now)
        if self._pass_over(reply):
            return self.received(reply, connection)
        for entry in self.late:
            if entry[2] == reply:
                self.late.remove(entry)
                return self._settle(Fault.WRONG_ORDER, entry, now)
        if self.driver.forgone.take(self.serial, reply):  # too late, and counted as that
            return None
        if self.mistaken is not None and self.mistaken[1][2] == reply:
            self._correct_mistake(*self.mistaken[:2], now)
            return None
        return self._wrong(reply, now)

    def _judged(self, now: int) -> bytes | None:
        """A reply that the user's function takes for wrong, or one to nothing. It is held against
        no message: it need not look like any."""
        if not self.outstanding():
            self.tally.count(Fault.EXTRA)
            return None
        [entry] = self.drop(1)
        return self._settle(Fault.WRONG_BYTES, entry, now)

    def _wrong(self, reply: bytes, now: int) -> bytes | None:
        fault = self.driver.payload.fault(reply, self.awaited(), self.serial, self.number)
        if fault in (Fault.DUPLICATE, Fault.EXTRA):
            self.tally.count(fault)
            return None
        self._confirm_mistake()
        [entry] = self.drop(1)
        self.mistaken = fault, entry, now
        self.tally.miss(fault, entry[0])
        return self.go_on(now)

    def _pass_over(self, reply: bytes) -> bool:
        """Is it the answer to a later message? Then those before it are late, or lost."""
        place = self.place_of(reply)
        if place >= 0:
            self.late += self.drop(place)
        return place >= 0

    def _settle(self, fault: Fault, entry: Entry, now: int) -> bytes | None:
        """Count a message as answered wrongly; returns the message to be sent for it."""
        self.tally.miss(fault, entry[0])
        self.tally.record(entry[0], entry[1], now)
        return self.go_on(now)

    def _confirm_mistake(self) -> None:
        """The last wrong reply was the one to its message: no right one came after it."""
        if self.mistaken is not None:
            _, (due, sent, _), now = self.mistaken
            self.mistaken = None
            self.tally.record(due, sent, now)

    def _correct_mistake(self, fault: Fault, entry: Entry, now: int) -> None:
        """The right reply has come after all: what was taken for it was one too many."""
        self.mistaken = None
        self.tally.record(entry[0], entry[1], now)
        self.tally.miss(fault, entry[0], -1)
        self.tally.count(Fault.EXTRA)
        if entry[0] >= self.tally.begin:
            self.tally.right += 1
            self.answered += 1

    def _unanswered(self, entry: Entry) -> None:
        due, sent, _ = entry
        self.tally.give_up("unanswered", due, sent, self.driver.patience)

    def _fill(self) -> None:
        """Until the depth is reached, a reply calls for two messages. All of them at once, on all
        the connections, would be a burst that keeps the loop from its sockets."""
        self.lacking -= 1
        if not self.lacking:
            self.driver.connections.filled()
        elif not self.retired:
            self.send(monotonic_ns())

    def _after_thinking(self) -> None:
        if self.connection is not None and not self.retired:
            self.send(monotonic_ns())
