"""The connections of a run: opened, replaced where lost, given up where they do not answer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING

from epollo.bench.processes.shares import Share
from epollo.bench.results.histogram import Histogram
from epollo.bench.run.connection import Conversation
from epollo.bench.run.opener import Opening
from epollo.bench.run.schedule import Pacing
from epollo.engine import CloseReason, EventLoop
from epollo.errors import ConnectError

if TYPE_CHECKING:
    from epollo.bench.run.driver import Driver

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0  # seconds, before one more try to connect

# What the close of a connection is counted as, where the run did not close it itself.
_ERRORS = {
    CloseReason.EOF: "closed_early",
    CloseReason.TRUNCATED: "closed_early",
    CloseReason.RESET: "reset",
    CloseReason.BAD_FRAME: "bad_frame",
    CloseReason.FRAME_TOO_LARGE: "bad_frame",
}
# What a connect that failed is counted as, where it was not plainly refused.
_CONNECT_ERRORS: dict[type, str] = {
    ConnectionResetError: "reset",
    TimeoutError: "connect_timeout",
}


class Connections:
    """Opens a run's connections, hears what becomes of each, and stops the loop when nothing more
    can come of them.

    Each has a *slot*, which goes on to the one that replaces it. ``filled`` is called when all
    have had a reply to each of their first messages, or have failed.
    """

    def __init__(
        self,
        driver: Driver,
        loop: EventLoop,
        share: Share,
        new_exchange: Callable[..., Conversation],
        filled: Callable[[], object],
    ) -> None:
        self.workload = workload = driver.workload
        self.count = share.count(workload.connections)
        self.answered = [0] * self.count  # measured replies, by slot
        self.connect, self.first_reply = Histogram(), Histogram()
        self.refusal: BaseException | None = None  # of one of them, if there was one
        self.bug: BaseException | None = None  # in what judges the replies
        self._driver = driver
        self._tally = driver.tally
        self._loop = loop
        self._share = share
        self._new_exchange = new_exchange
        self._filled = filled
        rate = workload.connection_rate and workload.connection_rate * share.part(
            workload.connections
        )
        self._opener = Opening(loop, driver.dialer, rate, self._not_opened)
        self._pacer: Pacing | None = None
        self._exchanges: dict[Conversation, None] = {}  # those connecting or connected
        self._begun = 0  # in all
        self._unfilled = self.count
        self._idle = 0
        self._there_at = 0  # ns; when the last one that was open closed
        self._pauses = [0.0] * self.count  # seconds, before each was last tried again

    def open(self) -> None:
        """Begin all of them, and from now on give up those that are silent."""
        self._loop.call_later(self._sweep_seconds, self._sweep)
        for slot in range(self.count):
            self._opener.want(partial(self._begin, slot, self.workload.depth))

    def follow(self, pacer: Pacing) -> None:
        """Have a plan's messages sent on them, and replace those that are lost from now on."""
        self._pacer = pacer
        for exchange in self._exchanges:
            if exchange.connection is not None:
                pacer.add(exchange)
        self._opener.halted = False

    def halt(self) -> None:
        """Open no more; the present ones rest once they have all their replies."""
        self._opener.halt()
        self._loop.call_threadsafe(self._rest)  # later, for one of them may be sending its last

    # What an exchange tells:

    def opened(self, exchange: Conversation) -> None:
        """It is there, and its first message may be sent."""
        assert exchange.opened is not None
        self.connect.record(exchange.opened)
        if self._pacer is not None:
            self._pacer.add(exchange)
        if not self._tally.sending:
            exchange.rest()
        elif exchange.lacking:
            for _ in range(self._at_once(exchange)):
                exchange.send(monotonic_ns())
        else:  # the pacer sends on it, when there is something to send
            self._opener.served()

    def served(self, exchange: Conversation) -> None:
        """It had its first reply: it was accepted, and another one may be opened."""
        assert exchange.first_reply is not None
        self.first_reply.record(exchange.first_reply)
        if exchange.lacking:
            self._opener.served()

    def filled(self) -> None:
        """One had a reply to each of its first messages."""
        self._unfilled -= 1
        if not self._unfilled:
            self._filled()

    def idle(self) -> None:
        """One has nothing more to send, and waits for nothing."""
        self._idle += 1
        if self._tally.sent >= self._tally.quota:  # a run of so many lasts until their last reply
            self._tally.end_at(monotonic_ns())
        self._stop_when_idle()

    def closed(
        self, exchange: Conversation, reason: CloseReason, error: BaseException | None
    ) -> None:
        """It is closed: counted as an error where it should not have been."""
        broken = reason is not CloseReason.LOCAL and not exchange.idle
        if reason is CloseReason.HANDLER_ERROR:
            self.bug = error
            self._loop.stop()
        elif broken:
            self._tally.count(_error(reason, error))
        if exchange.opened is not None and (broken or exchange.given_up):
            self._tally.lost += 1
        self._idle -= exchange.idle
        exchange.abandon()
        self._gone(exchange, error)
        if exchange.retired and not broken:
            self._open_another(exchange, self.workload.think)
        else:
            self._replace(exchange)
        self._stop_when_idle()

    # What becomes of it:

    def _begin(self, slot: int, lacking: int) -> Conversation:
        exchange = self._new_exchange(self._driver, self._share.number(self._begun), slot, lacking)
        self._begun += 1
        self._exchanges[exchange] = None
        return exchange

    def _at_once(self, exchange: Conversation) -> int:
        """How many messages a connection begins with. One in place of another that had its replies
        has all of them to send, where each waited for the end of a think time: to send them by and
        by, as replies come, would be to send what follows a reply without that."""
        if not self.workload.think or exchange.serial < self.workload.connections:
            return 1
        return min(self.workload.depth, self._driver.retire_after)

    def _not_opened(self, exchange: Conversation, error: ConnectError) -> None:
        """It could not even be begun."""
        if not exchange.given_up:
            self._tally.count(_error(CloseReason.REFUSED, error.__cause__))
        self._gone(exchange, error)
        self._replace(exchange)
        self._stop_when_idle()

    def _gone(self, exchange: Conversation, error: BaseException | None) -> None:
        del self._exchanges[exchange]
        self.answered[exchange.slot] += exchange.answered
        if self._pacer is not None:
            self._pacer.remove(exchange)
        if exchange.opened is None:
            self.refusal = error or self.refusal
        else:
            self._there_at = monotonic_ns()
        if exchange.first_reply is None and (exchange.lacking or exchange.opened is None):
            self._opener.served()
        if exchange.lacking and exchange.serial < self.workload.connections:
            self.filled()

    def _replace(self, exchange: Conversation) -> None:
        """What an open loop has lost, or could not open, it opens again, for its plan waits for
        nobody: after a pause, twice as long each time, where no reply came."""
        if self._pacer is None or exchange.lacking:  # it was of the opening, which tries once
            return
        pause = 0.0
        if exchange.first_reply is None:
            pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self._pauses[exchange.slot]))
        self._pauses[exchange.slot] = pause
        self._open_another(exchange, pause)

    def _open_another(self, exchange: Conversation, pause: float) -> None:
        """In its place, while there is something to send."""
        if self._tally.sending and self.bug is None:
            self._opener.want(partial(self._begin, exchange.slot, self._later_messages), pause)

    @property
    def _later_messages(self) -> int:
        """How many replies one waits for that replaces another, before it has its depth."""
        if self.workload.open_loop:
            return 0
        return 1 if self.workload.think else self.workload.depth

    def _rest(self) -> None:
        for exchange in list(self._exchanges):
            if exchange.opened is not None:
                exchange.rest()
        self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        if not self._opener.opens and self._idle == len(self._exchanges):
            self._loop.stop()

    # What does not answer:

    @property
    def _sweep_seconds(self) -> float:
        return min(1.0, self.workload.timeout / 4)

    def _sweep(self) -> None:
        """Give up what has waited for longer than the timeout: a connection that is not made or
        does not answer at all, or a single message that was passed over."""
        before = monotonic_ns() - self._driver.patience
        if self._is_deserted(before):
            self._tally.finish(monotonic_ns())
        for exchange in list(self._exchanges):
            if exchange.overdue(before):
                self._give_up(exchange)
            else:
                exchange.abandon_late(before)
        self._loop.call_later(self._sweep_seconds, self._sweep)

    def _is_deserted(self, before: int) -> bool:
        """Does a message of the plan wait since then for a connection, and none could be had?"""
        pacer = self._pacer
        if pacer is None or pacer.exchanges:
            return False
        return pacer.due_at < before and self._there_at < before

    def _give_up(self, exchange: Conversation) -> None:
        if exchange.given_up:
            return
        exchange.given_up = True
        if exchange.opened is None:
            self._tally.count("connect_timeout")
        if exchange.first_reply is None and self._pacer is None:
            for _ in range(self._opener.halt()):  # more would fare no better
                self.filled()
        if exchange.connection is not None:
            exchange.connection.abort()


def _error(reason: CloseReason, error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return "no_port"
    if reason is CloseReason.REFUSED:
        return _CONNECT_ERRORS.get(type(error), "connect_refused")
    return _ERRORS.get(reason, str(reason))
