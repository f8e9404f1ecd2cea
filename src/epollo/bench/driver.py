"""Runs a workload: opens the connections, keeps the window, gives up what does not answer."""

from __future__ import annotations

import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic_ns

from epollo import address
from epollo.address import Address
from epollo.bench.exchange import Exchange
from epollo.bench.histogram import Histogram
from epollo.bench.payload import Payload
from epollo.bench.result import Result, Second
from epollo.bench.workload import Workload
from epollo.engine import CloseReason, Limits, new_loop
from epollo.errors import ConnectFailed, SettingError
from epollo.framing import Delimiter, Line

_NEVER = 1 << 63
_SECOND = 10**9
_SPARE_DESCRIPTORS = 32
_OPENING_AT_ONCE = 256
_RETRY_SECONDS = 0.01

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
    """One run of one workload on one loop. ``progress`` is called once a second.

    Three times follow each other: *opening*, until each connection has its depth of messages
    outstanding, or has failed; the *warm-up*; and the *window*, which is measured. A message
    belongs to the time that it was sent in. Without a warm-up the window is open from the start.
    """

    def __init__(
        self, workload: Workload, progress: Callable[[Second], object] | None = None
    ) -> None:
        self.workload = workload
        self.framing = workload.new_framing()
        self.limits = Limits(high_water=_NEVER, max_unsent=_NEVER)
        self.payload = Payload(workload.size, text=isinstance(self.framing, Line | Delimiter))
        self.histogram = Histogram()  # of the present second; merged into the whole at its end
        self.measure_from = _NEVER
        self._quota = workload.messages or _NEVER
        self._sending = True
        self._ended_at = 0
        self._whole = Histogram()
        self._errors: Counter[str] = Counter()
        self._seconds: list[Second] = []
        self._progress = progress or (lambda _: None)
        self._exchanges: list[Exchange] = []
        self._opening = True
        self._wanted = workload.connections
        self._unserved = 0  # open, without a reply until now
        self._unfilled = 0  # open, with fewer messages outstanding than they should have
        self._open = 0  # connecting or connected
        self._idle = 0  # have all their replies, and may send no more
        self._refusal: Exception | None = None
        self._bug: Exception | None = None
        self._loop = new_loop()

    def run(self) -> Result:
        """Run to the end. Raises SettingError where there are not descriptors enough for the
        connections, and ConnectFailed where none of them could be made."""
        try:
            allow_descriptors(self.workload.connections)
            self._where = _look_up(address.parse(self.workload.address))
            if not self.workload.warmup:
                self._start_measuring()
            self._loop.call_later(self._sweep_seconds, self._sweep)
            self._open_more()
            self._loop.run()
        finally:
            self._sending = False
            self._loop.close()
        if self._bug is not None:
            raise self._bug
        if all(exchange.opened is None for exchange in self._exchanges):
            raise self._connect_failed()
        return self._result()

    def stop(self) -> None:
        """End early: send no more, wait for the replies. From any thread or signal."""
        self._loop.call_threadsafe(self._stop_sending)

    def may_send(self, now: int) -> bool:
        """Is another message wanted? Counts it, once the warm-up is over."""
        if self._sending and now >= self.measure_from:
            self._quota -= 1
            if self._quota == 0:
                self._stop_sending()
                return True
        return self._sending

    def count(self, error: str, times: int = 1) -> None:
        """An error of the kind that ``error`` names in the result."""
        self._errors[error] += times

    def record(self, sent: int, now: int) -> None:
        """The time of a message that was not answered rightly, if it belongs to the window."""
        if sent >= self.measure_from:
            self.histogram.record(now - sent)

    def unanswered(self, sent: int) -> None:
        """A message given up: counted, and recorded as the time it was waited for. That is a
        latency known to be at least so much (censored), and never dropped."""
        self.count("unanswered")
        self.record(sent, monotonic_ns())

    def exchange_served(self) -> None:
        """A connection had its first reply, or never will: another may be opened."""
        self._unserved -= 1
        self._open_more()

    def exchange_filled(self) -> None:
        """A connection has had a reply to each of its first messages; after the last, warm-up."""
        self._unfilled -= 1
        if not self._unfilled and self._opening:
            self._warm_up()

    def exchange_idle(self) -> None:
        """A connection has nothing more to send, and waits for nothing."""
        self._idle += 1
        if not self._quota:  # a run of so many messages lasts until their last reply
            self._ended_at = monotonic_ns()
        self._stop_when_idle()

    def exchange_closed(
        self, exchange: Exchange, reason: CloseReason, error: Exception | None
    ) -> None:
        """A connection is closed: counted as an error where it should not have been."""
        if reason is CloseReason.HANDLER_ERROR:
            self._bug = error
            self._loop.stop()
        elif reason is not CloseReason.LOCAL and not exchange.idle:
            self.count(_error(reason, error))
        self._idle -= exchange.idle
        exchange.abandon()
        self._exchange_gone(exchange, error)

    def _exchange_gone(self, exchange: Exchange, error: Exception | None) -> None:
        self._open -= 1
        if exchange.opened is None:
            self._refusal = error or self._refusal
        if exchange.first_reply is None:
            self.exchange_served()
        if exchange.lacking:
            self.exchange_filled()
        self._stop_when_idle()

    @property
    def _sweep_seconds(self) -> float:
        return min(1.0, self.workload.timeout / 4)

    @property
    def _overdue_before(self) -> int:
        return monotonic_ns() - int(self.workload.timeout * _SECOND)

    def _open_more(self) -> None:
        """Open connections, a bounded number at once: an accept queue is not what is measured.

        One that has no reply yet may still be in that queue, though its connect succeeded.
        """
        while self._may_open:
            exchange = Exchange(self, len(self._exchanges))
            self._exchanges.append(exchange)
            self._open += 1
            self._unserved += 1
            self._unfilled += 1
            self._connect(exchange)

    @property
    def _may_open(self) -> bool:
        room = self._unserved < _OPENING_AT_ONCE and len(self._exchanges) < self._wanted
        return room and self._sending

    def _connect(self, exchange: Exchange) -> None:
        try:
            sock = address.start_connect(self._where)
        except ConnectFailed as error:
            # Later, for the caller may be counting what is open.
            failed = self._queue_full if _is_queue_full(error) else self._refused
            self._loop.call_threadsafe(partial(failed, exchange, error))
        else:
            exchange.connection = self._loop.attach(sock, exchange)

    def _refused(self, exchange: Exchange, error: ConnectFailed) -> None:
        self.count(_error(CloseReason.REFUSED, error.__cause__))
        self._exchange_gone(exchange, error)

    def _queue_full(self, exchange: Exchange, error: ConnectFailed) -> None:
        """The server is slow to accept: try again, as the kernel does of itself with TCP."""
        if not self._sending:
            self._exchange_gone(exchange, error)
        elif exchange.overdue(self._overdue_before):
            self._give_up(exchange)
            self._exchange_gone(exchange, error)
        else:
            self._loop.call_later(_RETRY_SECONDS, partial(self._connect, exchange))

    def _warm_up(self) -> None:
        """The opening is over: all the connections that there will be are there."""
        self._opening = False
        if self.workload.warmup:
            self._loop.call_later(self.workload.warmup, self._start_measuring)

    def _start_measuring(self) -> None:
        if not self._sending:
            return
        self.measure_from = monotonic_ns()
        if self.workload.duration is not None:
            self._loop.call_later(self.workload.duration, self._stop_sending)
        self._plan_second()

    def _stop_sending(self) -> None:
        if not self._sending:
            return
        self._ended_at = monotonic_ns()
        if self._ended_at >= self._second_ends:
            self._end_second()
        self._sending = False
        self._loop.call_later(self.workload.timeout, self._loop.stop)

    def _stop_when_idle(self) -> None:
        if self._idle == self._open:
            self._loop.stop()

    @property
    def _second_ends(self) -> int:
        return self.measure_from + (len(self._seconds) + 1) * _SECOND

    def _plan_second(self) -> None:
        self._loop.call_later((self._second_ends - monotonic_ns()) / _SECOND, self._end_second)

    def _end_second(self) -> None:
        if not self._sending:
            return
        second = Second.of(self.histogram, self._errors.total())
        self._seconds.append(second)
        self._whole.add(self.histogram)
        self.histogram = Histogram()
        self._progress(second)
        self._plan_second()

    def _sweep(self) -> None:
        """Give up what has waited for longer than the timeout: a connection that is not made or
        does not answer at all, or a single message that was passed over."""
        before = self._overdue_before
        for exchange in self._exchanges:
            exchange.abandon_late(before)
            if exchange.connection is not None and exchange.overdue(before):
                self._give_up(exchange)
                exchange.connection.abort()
        self._loop.call_later(self._sweep_seconds, self._sweep)

    def _give_up(self, exchange: Exchange) -> None:
        if exchange.opened is None:
            self.count("connect_timeout")
        if exchange.first_reply is None:
            self._wanted = len(self._exchanges)  # more would fare no better

    def _connect_failed(self) -> ConnectFailed:
        error = self._refusal
        if isinstance(error, ConnectFailed):
            return error
        why = f"nothing answers there within {self.workload.timeout:g} s"
        if isinstance(error, OSError):
            why = (error.strerror or str(error)).lower()
        if isinstance(error, ConnectionRefusedError):
            why += "; nothing listens there"
        return ConnectFailed(f"cannot connect to {self.workload.address}: {why}")

    def _result(self) -> Result:
        self._whole.add(self.histogram)
        elapsed = max(0, (self._ended_at or monotonic_ns()) - self.measure_from)
        return Result(
            workload=self.workload,
            elapsed=elapsed / _SECOND,
            latency=self._whole,
            answered=[exchange.answered for exchange in self._exchanges],
            connect=_gather(exchange.opened for exchange in self._exchanges),
            first_reply=_gather(exchange.first_reply for exchange in self._exchanges),
            seconds=self._seconds,
            errors={error: count for error, count in self._errors.items() if count},
        )


def _error(reason: CloseReason, error: BaseException | None) -> str:
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


def _look_up(where: Address) -> Address:
    """``where`` with its name resolved, once and not for each connection."""
    if where.path:
        return where
    try:
        infos = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
        numbers = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        host, _ = socket.getnameinfo(infos[0][4], numbers)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConnectFailed(f"cannot connect to {where}: {why}") from error
    return Address(host=host, port=where.port)


def _is_queue_full(error: ConnectFailed) -> bool:
    """A Unix socket's: connect(2) gives EAGAIN, where a TCP connect waits."""
    return isinstance(error.__cause__, BlockingIOError)


def _gather(values: Iterable[int | None]) -> Histogram:
    histogram = Histogram()
    for value in values:
        if value is not None:
            histogram.record(value)
    return histogram
