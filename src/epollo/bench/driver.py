"""Runs a workload: opens the connections, keeps the window, gives up what does not answer."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING

from epollo.bench.conversation import Conversation
from epollo.bench.dialing import Dialer
from epollo.bench.histogram import Histogram
from epollo.bench.ledger import NEVER, SECOND
from epollo.bench.load.arrivals import arrivals
from epollo.bench.load.expect import expectation
from epollo.bench.load.messages import new_payload
from epollo.bench.opening import Opening
from epollo.bench.pacing import Pacing
from epollo.bench.processes.shares import WHOLE, Share
from epollo.bench.result import LATE, Result, Second
from epollo.bench.rooms import room_of
from epollo.bench.workload import Workload
from epollo.engine import CloseReason, Limits, new_loop
from epollo.errors import ConnectFailed, SettingError

if TYPE_CHECKING:
    from epollo.bench.python.tally import Tally

_NO_BOUND = 1 << 62
_CATCH_UP_SECONDS = 0.001
_SPARE_DESCRIPTORS = 32

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


class Driver:
    """One run of one workload, or of a share of it, on one loop. ``progress`` is called once a
    second.

    Three times follow each other: *opening*, until each connection has its depth of messages
    outstanding, or has failed; the *warm-up*; and the *window*, which is measured. A message
    belongs to the time that it was due in. Without a warm-up the window of a closed loop is open
    from the start; that of an open loop begins with its plan, once all connections are there.

    Where ``opened`` is given, it is called once they are, and the warm-up waits for `begin`.
    """

    def __init__(
        self,
        workload: Workload,
        progress: Callable[[Second], object] | None = None,
        share: Share = WHOLE,
        opened: Callable[[], object] | None = None,
    ) -> None:
        self.workload = workload
        self.refusal: Exception | None = None  # of a connection, if there was one
        self._share = share
        self._connections = connections = share.count(workload.connections)
        self._part = connections / workload.connections
        self._opened = opened or (lambda: self._begin_warm_up(monotonic_ns()))
        self.framing = workload.new_framing()
        self.limits = Limits(high_water=_NO_BOUND, max_unsent=_NO_BOUND)
        self.payload = new_payload(workload, self.framing)
        self.expectation = expectation(workload.expect)
        self.echoes = self.expectation.echo
        self.dialer = Dialer(workload)
        self.retire_after = workload.reconnect_every or _NO_BOUND
        self.watches_all = bool(workload.reconnect_every or workload.think)
        self._progress = progress or (lambda _: None)
        self._loop = new_loop(workload.engine)
        self.later = self._loop.call_later
        room = room_of(self._loop.name)
        self.messages = room.messages(self.payload, self.framing)
        due = workload.profile.share(self._part).due if workload.open_loop else None
        quota = None if workload.messages is None else share.count(workload.messages)
        self.tally: Tally = room.tally(quota, due, self._over)
        self._new_pacer: Callable[..., Pacing] = room.pacer
        self._new_exchange: Callable[..., Conversation] = room.exchange
        opening_rate = workload.connection_rate and workload.connection_rate * self._part
        self._opener = Opening(self._loop, self.dialer, opening_rate, self._not_opened)
        self._pacer: Pacing | None = None
        self._exchanges: dict[Conversation, None] = {}  # those connecting or connected
        self._begun = 0  # connections, in all
        self._unfilled = connections  # to have their first replies, before the warm-up
        self._idle = 0
        self._connect, self._first_reply = Histogram(), Histogram()
        self._answered = [0] * connections
        self._told = 0  # seconds
        self._interrupted = False
        self._bug: Exception | None = None

    def run(self) -> Result:
        """Run to the end. Raises SettingError where there are not descriptors enough for the
        connections, and ConnectFailed where none of them could be made."""
        result = self.measure(monotonic_ns())
        if not result.connect.total:
            raise self.dialer.failed(self.refusal)
        return result

    def measure(self, start: int) -> Result:
        """Run to the end, even where no connection could be made. A window that has the opening in
        it begins at ``start`` ns. Raises SettingError as `run` does."""
        try:
            allow_descriptors(self._connections)
            if self._measures_all:
                self._open_window(start)
            self._loop.call_later(self._sweep_seconds, self._sweep)
            for slot in range(self._connections):
                self._opener.want(partial(self._begin, slot, self._first_messages))
            self._loop.run()
        finally:
            self.tally.finish(monotonic_ns())
            self._loop.close()
            self.expectation.report()
        if self._bug is not None:
            raise self._bug
        return self._result()

    def begin(self, at: int) -> None:
        """The warm-up begins at ``at`` ns, and the window after it, as `opened` has asked for. From
        any thread."""
        self._loop.call_threadsafe(partial(self._begin_warm_up, at))

    def stop(self) -> None:
        """End early: send no more, wait for the replies. From any thread or signal."""
        self._loop.call_threadsafe(self._interrupt)

    def exchange_opened(self, exchange: Conversation) -> None:
        """A connection is there, and its first message may be sent."""
        assert exchange.opened is not None
        self._connect.record(exchange.opened)
        if self._pacer is not None:
            self._pacer.add(exchange)
        if not self.tally.sending:
            exchange.rest()
        elif exchange.lacking:
            exchange.send(monotonic_ns())
        else:  # the pacer sends on it, when there is something to send
            self._opener.served()

    def exchange_served(self, exchange: Conversation) -> None:
        """A connection had its first reply: it was accepted, and another one may be opened."""
        assert exchange.first_reply is not None
        self._first_reply.record(exchange.first_reply)
        if exchange.lacking:
            self._opener.served()

    def exchange_filled(self) -> None:
        """A connection has had a reply to each of its first messages; after the last, warm-up."""
        self._unfilled -= 1
        if not (self._unfilled or self._measures_all):
            self._opened()

    def exchange_idle(self) -> None:
        """A connection has nothing more to send, and waits for nothing."""
        self._idle += 1
        if self.tally.sent >= self.tally.quota:  # a run of so many lasts until their last reply
            self.tally.end_at(monotonic_ns())
        self._stop_when_idle()

    def exchange_closed(
        self, exchange: Conversation, reason: CloseReason, error: Exception | None
    ) -> None:
        """A connection is closed: counted as an error where it should not have been."""
        if reason is CloseReason.HANDLER_ERROR:
            self._bug = error
            self._loop.stop()
        elif reason is not CloseReason.LOCAL and not exchange.idle:
            self.tally.count(_error(reason, error))
        self._idle -= exchange.idle
        exchange.abandon()
        self._gone(exchange, error)
        if reason is CloseReason.LOCAL and exchange.retired and self.tally.sending:
            self._opener.want(partial(self._begin, exchange.slot, self._later_messages))
        self._stop_when_idle()

    @property
    def _measures_all(self) -> bool:
        return not (self.workload.warmup or self.workload.open_loop)

    @property
    def _first_messages(self) -> int:
        """How many replies each connection waits for before the warm-up. In an open loop it is
        one: that a connect succeeds does not prove that anybody serves it."""
        return self.workload.depth

    @property
    def _later_messages(self) -> int:
        return 0 if self.workload.open_loop else self.workload.depth

    def _begin(self, slot: int, lacking: int) -> Conversation:
        serial = self._share.number(self._begun)
        exchange = self._new_exchange(self, serial, slot, lacking)
        self._begun += 1
        self._exchanges[exchange] = None
        return exchange

    def _not_opened(self, exchange: Conversation, error: ConnectFailed) -> None:
        """It could not even be begun."""
        if not exchange.given_up:
            self.tally.count(_error(CloseReason.REFUSED, error.__cause__))
        self._gone(exchange, error)
        self._stop_when_idle()

    def _gone(self, exchange: Conversation, error: Exception | None) -> None:
        del self._exchanges[exchange]
        self._answered[exchange.slot] += exchange.answered
        if self._pacer is not None:
            self._pacer.remove(exchange)
        if exchange.opened is None:
            self.refusal = error or self.refusal
        if exchange.first_reply is None and (exchange.lacking or exchange.opened is None):
            self._opener.served()
        if exchange.lacking and exchange.serial < self.workload.connections:
            self.exchange_filled()

    @property
    def _sweep_seconds(self) -> float:
        return min(1.0, self.workload.timeout / 4)

    def _begin_warm_up(self, at: int) -> None:
        """The opening is over: all the connections that there will be are there."""
        if not self.tally.sending:
            return
        window = at + round(self.workload.warmup * SECOND)
        if self.workload.open_loop:
            self._open_window(window)
            self._follow_plan(at)
        else:
            self._open_window(max(window, monotonic_ns()))  # what is sent already is not in it

    def _follow_plan(self, at: int) -> None:
        """Send by the clock, from ``at`` ns on."""
        load = self.workload
        profile = load.profile.after(load.warmup)
        times = arrivals(profile, load.arrival, load.seed, self._share, load.connections)
        self._pacer = self._new_pacer(self._loop, times)
        for exchange in self._exchanges:
            if exchange.connection is not None:
                self._pacer.add(exchange)
        self._pacer.start(at)

    def _open_window(self, at: int) -> None:
        self.tally.open_window(at, self.workload.seconds)
        if self.tally.end < NEVER:
            self._at(self.tally.end, self._end_window)
        self._at(self.tally.second_end, self._end_second)

    def _end_window(self) -> None:
        """Send no more, once all is sent that was due, or would be too late: to leave out what the
        tester itself has held up would be to measure when it suits (coordinated omission)."""
        now, end = monotonic_ns(), self.tally.end
        behind = self._pacer is not None and self._pacer.due < end
        if behind and now < end + self.workload.timeout * SECOND:
            self._loop.call_later(_CATCH_UP_SECONDS, self._end_window)
        else:
            self.tally.finish(now)

    def _at(self, when: int, call: Callable[[], object]) -> None:
        self._loop.call_later(max(0, when - monotonic_ns()) / SECOND, call)

    def _end_second(self) -> None:
        if self.tally.sending:
            self.tally.roll(monotonic_ns())
            self._tell()
            self._at(self.tally.second_end, self._end_second)

    def _tell(self) -> None:
        for second in self.tally.seconds[self._told :]:
            self._progress(second)
        self._told = len(self.tally.seconds)

    def _interrupt(self) -> None:
        self._interrupted = self.tally.sending
        self.tally.finish(monotonic_ns())

    def _over(self) -> None:
        """No more is sent: wait for the replies, as long as for any."""
        self._opener.halt()
        if self._pacer is not None:
            # Messages sent late took that long to send: else the rate would be what it was not.
            if self._pacer.sent_at > self.tally.ended_at + LATE:
                self.tally.ended_at = self._pacer.sent_at
            self._pacer.stop()
        self._loop.call_later(self.workload.timeout, self._loop.stop)
        self._loop.call_threadsafe(self._rest)  # later, for one of them may be sending its last

    def _rest(self) -> None:
        for exchange in list(self._exchanges):
            if exchange.opened is not None:
                exchange.rest()
        self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        nothing_comes = not self._opener.waiting and self._idle == len(self._exchanges)
        if nothing_comes:
            self._loop.stop()

    def _sweep(self) -> None:
        """Give up what has waited for longer than the timeout: a connection that is not made or
        does not answer at all, or a single message that was passed over."""
        before = monotonic_ns() - int(self.workload.timeout * SECOND)
        for exchange in list(self._exchanges):
            if exchange.overdue(before):
                self._give_up(exchange)
            else:
                exchange.abandon_late(before)
        self._loop.call_later(self._sweep_seconds, self._sweep)

    def _give_up(self, exchange: Conversation) -> None:
        if exchange.given_up:
            return
        exchange.given_up = True
        if exchange.opened is None:
            self.tally.count("connect_timeout")
        if exchange.first_reply is None:
            for _ in range(self._opener.halt()):  # more would fare no better
                self.exchange_filled()
        if exchange.connection is not None:
            exchange.connection.abort()

    def _result(self) -> Result:
        tally = self.tally
        tally.close()
        self._tell()
        seconds = tally.seconds
        response = Histogram.sum(second.response for second in seconds)
        open_loop = self.workload.open_loop
        return Result(
            workload=self.workload,
            started=tally.started,
            elapsed=max(0, tally.ended_at - tally.begin) / SECOND,
            sent=tally.sent,
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            response=response,
            service=Histogram.sum(s.service for s in seconds) if open_loop else response,
            slip=Histogram.sum(second.slip for second in seconds),
            answered=self._answered,
            connect=self._connect,
            first_reply=self._first_reply,
            seconds=seconds,
            errors={str(error): count for error, count in tally.errors.items() if count},
            interrupted=self._interrupted,
        )


def _error(reason: CloseReason, error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return "no_port"
    if reason is CloseReason.REFUSED:
        return _CONNECT_ERRORS.get(type(error), "connect_refused")
    return _ERRORS.get(reason, str(reason))


def allow_descriptors(connections: int) -> None:
    """Raise this process's limit of descriptors to what so many connections take, within the
    hard limit. Raises SettingError where that is too low."""
    wanted = connections + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = hard - _SPARE_DESCRIPTORS
        raise SettingError(f"connections: this process may have {most} at most (ulimit -n {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
