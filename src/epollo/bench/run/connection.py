"""One connection of a run, from its connect to its close, and how a wrong reply is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol, TypeAlias

from epollo import address
from epollo.bench.load.payload import Fault
from epollo.bench.run.context import RunContext
from epollo.bench.run.dialer import is_self_connected
from epollo.bench.run.metrics import NEVER, RunCounters
from epollo.engine import CloseReason, Connection, Limits
from epollo.errors import ConnectError, ConnectionClosed, FrameError
from epollo.framing import Framing

Entry: TypeAlias = tuple[int, int, bytes]
"""A message outstanding: when it was due and when it was sent, in ns, and its bytes."""

# Each backend keeps the data of a connection in its own way (the native one, in a struct).
_NO_SLOTS: tuple[str, ...] = ()


class ConnectionListener(Protocol):
    """Is told the events of each connection of a run."""

    def on_connected(self, connection: BenchConnection) -> None:
        """It is connected: its first message may be sent."""

    def on_first_reply(self, connection: BenchConnection) -> None:
        """It received its first reply, so the server has accepted it."""

    def on_ramped_up(self) -> None:
        """A connection received a reply to each of its first messages."""

    def on_idle(self) -> None:
        """A connection has no more to send, and waits for no reply."""

    def on_closed(
        self, connection: BenchConnection, reason: CloseReason, error: BaseException | None
    ) -> None:
        """It is closed."""


class BenchConnection:
    """The part of a connection that only its first reply and wrong replies pass through.

    To reach its depth, a connection sends two messages for each of its first replies: for the next
    ``ramp_remaining`` of them. ``watched``: a correct reply needs more than the next message.

    It is connected when the server's greeting, the preamble and the replies to that are over.
    """

    __slots__ = _NO_SLOTS

    # What the backend adds:
    answered: int  # measured messages that got their correct reply
    next_message: Callable[[int], bytes | None]
    received: Callable[[bytes, Connection], bytes | None]
    outstanding: Callable[[], int]  # messages
    oldest_message: Callable[[], bytes | None]  # of those outstanding
    index_of: Callable[[bytes], int]  # of that message among those outstanding, or -1
    drop: Callable[[int], list[Entry]]  # removes the oldest ones
    oldest_sent: Callable[[], int]  # ns; NEVER if no message is outstanding

    framing: Framing
    limits: Limits
    context: RunContext
    listener: ConnectionListener
    counters: RunCounters
    serial: int
    slot: int  # index among the connections kept open
    number: int  # messages sent
    ramp_remaining: int
    watched: bool
    overtaken: deque[Entry]  # not answered, though a later message was; not yet over the timeout
    greeting_due: int  # messages to come that answer none: the greeting, replies to the preamble
    preamble: bytes | None  # still to be sent
    last_wrong: tuple[Fault, Entry, int] | None  # the last message answered wrongly, and when
    transport: Connection | None
    idle: bool  # has all its replies, and may send no more
    timed_out: bool
    started: int  # ns
    connect_time: int | None  # ns
    first_reply: int | None  # ns from the start of the connect

    def prepare(
        self,
        context: RunContext,
        listener: ConnectionListener,
        serial: int,
        slot: int,
        ramp_remaining: int,
    ) -> None:
        """Set everything that is known before the connect."""
        self.context = context
        self.listener = listener
        self.serial = serial
        self.slot = slot
        self.ramp_remaining = ramp_remaining
        self.watched = True
        self.overtaken = deque()
        self.last_wrong = None
        self.greeting_due = context.workload.greeting
        self.preamble = context.preamble
        self.transport = None
        self.idle = self.timed_out = False
        self.started = monotonic_ns()
        self.connect_time = self.first_reply = None

    @property
    def pending(self) -> bool:
        """Is a reply, or a part of the greeting, still to come?"""
        return self.oldest_sent() < NEVER or bool(self.overtaken or self.greeting_due)

    @property
    def retired(self) -> bool:
        """Has it sent as many messages as one connection may?"""
        return self.number >= self.context.retire_after

    def connected(self, connection: Connection) -> None:
        if is_self_connected(connection):
            connection.abort(CloseReason.REFUSED)
            return
        self.transport = connection
        self._begin_when_ready()

    def count_greeting(self) -> None:
        """A message came that was due before the first reply."""
        self.greeting_due -= 1
        self._begin_when_ready()

    def _begin_when_ready(self) -> None:
        if self.preamble is not None and not self.greeting_due and self.transport is not None:
            preamble, self.preamble = self.preamble, None
            self.greeting_due = self.context.workload.preamble_replies
            try:
                self.transport.send(preamble)
            except ConnectionClosed:  # its fault is reported by `closed`
                return
        if self.greeting_due or self.transport is None:
            return
        self.connect_time = monotonic_ns() - self.started
        self.listener.on_connected(self)

    def send(self, due: int) -> None:
        """Send the message due at ``due`` ns, after those sent before."""
        assert self.transport is not None
        message = self.next_message(due)
        if message is None:
            self.finish_if_idle()
            return
        try:
            self.transport.send(message)
        except ConnectionClosed:  # its fault is reported by `closed`
            pass

    def continue_after_reply(self, now: int) -> bytes | None:
        """A watched reply came: return the message to send next, if any."""
        if self.first_reply is None:
            self.first_reply = now - self.started
            self.listener.on_first_reply(self)
        if self.ramp_remaining:
            self._ramp_up()
            now = monotonic_ns()  # no two messages of a connection have the same due time
        self.watched = bool(self.ramp_remaining) or self.context.watch_all
        if self.retired or self.counters.open_loop:
            self.finish_if_idle()
            return None
        if self.context.workload.think:
            self.context.call_later(self.context.workload.think, self._send_after_thinking)
            return None
        message = self.next_message(now)
        if message is None:
            self.finish_if_idle()
        return message

    def finish_if_idle(self) -> None:
        """Close, or report idle, if all replies have come and no more may be sent."""
        if self.idle or self.pending:
            return
        if self.retired and self.transport is not None:
            self.transport.close()
        elif not self.counters.sending:
            self.idle = True
            self.listener.on_idle()

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.transport = None
        error = connection.error
        if reason is CloseReason.REFUSED and error is None:
            error = address.self_connect_error()
        if self.connect_time is None:
            error = self._not_greeted(reason, error)
        self.listener.on_closed(self, reason, error)

    def _not_greeted(
        self, reason: CloseReason, error: BaseException | None
    ) -> BaseException | None:
        """What to tell of a connection that ended before it was ready for messages."""
        expected = "its greeting or its reply to the preamble"
        if reason is CloseReason.EOF:
            why = f"the server closed the connection before {expected}"
        elif isinstance(error, FrameError):
            why = f"the server sent other bytes than {expected}: {error}"
        else:
            return error
        return ConnectError(f"cannot connect to {self.context.workload.address}: {why}")

    def overdue(self, before: int) -> bool:
        """Has the oldest message, or the connect, been pending since before that time?"""
        return self.oldest_sent() < before or (self.connect_time is None and self.started < before)

    def abandon_overtaken(self, before: int) -> None:
        """Give up the overtaken messages sent before that time: later ones have been answered."""
        while self.overtaken and self.overtaken[0][1] < before and self.transport is not None:
            entry = self.overtaken.popleft()
            self.context.expired.add(self.serial, entry[2])
            self.give_up(entry)

    def give_up(self, entry: Entry) -> None:
        """Count a message as unanswered; in a closed loop, send another instead."""
        self._count_unanswered(entry)
        if self.counters.open_loop or self.retired:
            self.finish_if_idle()
        else:
            self.send(monotonic_ns())

    def abandon(self) -> None:
        """Give up all messages without a reply."""
        self._confirm_last_wrong()
        for entry in (*self.overtaken, *self.drop(self.outstanding())):
            self._count_unanswered(entry)
        self.overtaken.clear()

    def mismatch(self, reply: bytes, connection: Connection, now: int) -> bytes | None:
        """A reply is not the correct one for the oldest message: find out what it is."""
        if self.greeting_due:
            self.count_greeting()
            return None
        now = monotonic_ns()  # later than all that was sent since the read at ``now``
        if self.first_reply is None:
            self.first_reply = now - self.started
            self.listener.on_first_reply(self)
        if not self.context.expectation.echo:
            return self._rejected(now)
        if self._overtakes(reply):
            return self.received(reply, connection)
        for entry in self.overtaken:
            if entry[2] == reply:
                self.overtaken.remove(entry)
                return self.settle_wrong(Fault.WRONG_ORDER, entry, now)
        if self.context.expired.match(self.serial, reply):  # counted already, as unanswered
            return None
        if self.last_wrong is not None and self.last_wrong[1][2] == reply:
            self._retract_last_wrong(*self.last_wrong[:2], now)
            return None
        return self._wrong(reply, now)

    def _rejected(self, now: int) -> bytes | None:
        """The user's function rejected the reply, or no message was outstanding. The reply need
        not resemble any message, so it is matched to the oldest one."""
        if not self.outstanding():
            self.counters.count(Fault.EXTRA)
            return None
        [entry] = self.drop(1)
        return self.settle_wrong(Fault.WRONG_BYTES, entry, now)

    def _wrong(self, reply: bytes, now: int) -> bytes | None:
        payload = self.context.payload
        fault = payload.fault(reply, self.oldest_message(), self.serial, self.number)
        if fault in (Fault.DUPLICATE, Fault.EXTRA):
            self.counters.count(fault)
            return None
        self._confirm_last_wrong()
        [entry] = self.drop(1)
        self.last_wrong = fault, entry, now
        self.counters.count_message(fault, entry[0])
        return self.continue_after_reply(now)

    def _overtakes(self, reply: bytes) -> bool:
        """Does it answer a later message? Then all messages before that one are overtaken."""
        index = self.index_of(reply)
        if index >= 0:
            self.overtaken += self.drop(index)
        return index >= 0

    def settle_wrong(self, fault: Fault, entry: Entry, now: int) -> bytes | None:
        """Count a message as answered wrongly; returns the message to send next."""
        self.counters.count_message(fault, entry[0])
        self.counters.record(entry[0], entry[1], now)
        return self.continue_after_reply(now)

    def _confirm_last_wrong(self) -> None:
        """No correct reply followed the last wrong one, so that was the answer to its message."""
        if self.last_wrong is not None:
            _, (due, sent, _), now = self.last_wrong
            self.last_wrong = None
            self.counters.record(due, sent, now)

    def _retract_last_wrong(self, fault: Fault, entry: Entry, now: int) -> None:
        """The correct reply came after the wrong one, so that was an extra reply."""
        self.last_wrong = None
        self.counters.record(entry[0], entry[1], now)
        self.counters.count_message(fault, entry[0], -1)
        self.counters.count(Fault.EXTRA)
        if entry[0] >= self.counters.begin:
            self.counters.correct += 1
            self.answered += 1

    def _count_unanswered(self, entry: Entry) -> None:
        due, sent, _ = entry
        self.counters.give_up("unanswered", due, sent, self.context.timeout_ns)

    def _ramp_up(self) -> None:
        """Send one message more, until the depth is reached. To send the whole depth at once on
        all connections would be a burst that keeps the loop from polling its sockets."""
        self.ramp_remaining -= 1
        if not self.ramp_remaining:
            self.listener.on_ramped_up()
        elif not self.retired:
            self.send(monotonic_ns())

    def _send_after_thinking(self) -> None:
        if self.transport is not None and not self.retired:
            self.send(monotonic_ns())
