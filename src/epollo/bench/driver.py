"""Runs a workload: opens the connections, keeps the window, gives up what does not answer."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic_ns

from epollo import address
from epollo.bench.exchange import Exchange
from epollo.bench.histogram import Histogram
from epollo.bench.payload import Payload
from epollo.bench.result import Result, Second
from epollo.bench.workload import Workload
from epollo.engine import CloseReason, Limits, new_loop
from epollo.errors import ConnectFailed, SettingError

_NEVER = 1 << 63
_SPARE_DESCRIPTORS = 32
_CONNECTING = 256

# What the close of a connection is counted as, where the run did not close it itself.
_ERRORS = {
    CloseReason.EOF: "closed_early",
    CloseReason.TRUNCATED: "closed_early",
    CloseReason.RESET: "reset",
    CloseReason.REFUSED: "connect_refused",
    CloseReason.BAD_FRAME: "bad_frame",
    CloseReason.FRAME_TOO_LARGE: "bad_frame",
    CloseReason.HANDLER_ERROR: "internal_error",
}


class Driver:
    """One run of one workload on one loop. ``progress`` is called once a second."""

    def __init__(
        self, workload: Workload, progress: Callable[[Second], object] | None = None
    ) -> None:
        self.workload = workload
        self.framing = workload.new_framing()
        self.limits = Limits(high_water=_NEVER, max_unsent=_NEVER)
        self.payload = Payload(workload.size, text=workload.framing == "line")
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
        self._open = 0  # connecting or connected
        self._connecting = 0
        self._idle = 0  # have all their replies, and may send no more
        self._refusal: Exception | None = None
        self._loop = new_loop()

    def run(self) -> Result:
        """Run to the end. Raises SettingError where there are not descriptors enough for the
        connections, and ConnectFailed where none of them could be made."""
        try:
            _allow_descriptors(self.workload.connections + _SPARE_DESCRIPTORS)
            self._loop.call_later(self.workload.warmup, self._start_measuring)
            self._loop.call_later(self._sweep_seconds, self._sweep)
            self._open_more()
            if self._open:
                self._loop.run()
        finally:
            self._loop.close()
        if all(exchange.opened is None for exchange in self._exchanges):
            why = self._refusal or "nothing answers there"
            raise ConnectFailed(f"cannot connect to {self.workload.address}: {why}")
        return self._result()

    def stop(self) -> None:
        """End early, and report what was measured until now. From any thread or signal."""
        self._loop.call_threadsafe(self._stop_sending)
        self._loop.call_threadsafe(self._loop.stop)

    def may_send(self, now: int) -> bool:
        """Is another message wanted? Counts it, once the warm-up is over."""
        if self._sending and now >= self.measure_from:
            self._quota -= 1
            if self._quota == 0:
                self._stop_sending()
                return True
        return self._sending

    def count(self, error: str) -> None:
        self._errors[error] += 1

    def exchange_opened(self) -> None:
        self._connecting -= 1
        self._open_more()

    def exchange_idle(self) -> None:
        self._idle += 1
        self._stop_when_idle()

    def exchange_closed(
        self, exchange: Exchange, reason: CloseReason, error: Exception | None
    ) -> None:
        self._open -= 1
        self._idle -= exchange.idle
        if exchange.opened is None:
            self._refusal = error
            self.exchange_opened()
        self._give_up(exchange)
        if reason is not CloseReason.LOCAL:
            self.count(_ERRORS.get(reason, str(reason)))
        self._stop_when_idle()

    @property
    def _sweep_seconds(self) -> float:
        return min(1.0, self.workload.timeout / 4)

    def _open_more(self) -> None:
        """Open connections, a bounded number at once: an accept queue is not what is measured."""
        while len(self._exchanges) < self.workload.connections and self._connecting < _CONNECTING:
            exchange = Exchange(self, len(self._exchanges))
            self._exchanges.append(exchange)
            try:
                sock = address.start_connect(address.parse(self.workload.address))
            except ConnectFailed as error:
                self.count("connect_refused")
                self._refusal = error.__cause__ if isinstance(error.__cause__, OSError) else error
                continue
            self._open += 1
            self._connecting += 1
            exchange.connection = self._loop.attach(sock, exchange)

    def _start_measuring(self) -> None:
        self.measure_from = monotonic_ns()
        if self.workload.duration is not None:
            self._loop.call_later(self.workload.duration, self._stop_sending)
        self._loop.call_later(1.0, self._end_second)

    def _stop_sending(self) -> None:
        if self._sending:
            self._sending = False
            self._ended_at = monotonic_ns()
            self._loop.call_later(self.workload.timeout, self._loop.stop)

    def _stop_when_idle(self) -> None:
        if self._idle == self._open:
            if self.workload.duration is None:
                self._ended_at = monotonic_ns()
            self._loop.stop()

    def _end_second(self) -> None:
        second = Second.of(self.histogram, sum(self._errors.values()))
        self._seconds.append(second)
        self._whole.add(self.histogram)
        self.histogram = Histogram()
        self._progress(second)
        self._loop.call_later(1.0, self._end_second)

    def _sweep(self) -> None:
        """Give up the connections that have waited for longer than the timeout."""
        now = monotonic_ns()
        for exchange in self._exchanges:
            if exchange.connection is not None and exchange.overdue(now):
                if exchange.opened is None:
                    self.count("connect_timeout")
                exchange.connection.abort()
        self._loop.call_later(self._sweep_seconds, self._sweep)

    def _give_up(self, exchange: Exchange) -> None:
        """What was not answered is counted, and recorded as the time it was waited for: a latency
        known to be at least that (censored), and never dropped."""
        for waited in exchange.abandon(monotonic_ns()):
            self.count("unanswered")
            self.histogram.record(waited)

    def _result(self) -> Result:
        self._whole.add(self.histogram)
        elapsed = max(0, (self._ended_at or monotonic_ns()) - self.measure_from)
        return Result(
            workload=self.workload,
            elapsed=elapsed / 1e9,
            latency=self._whole,
            answered=[exchange.answered for exchange in self._exchanges],
            connect=_gather(exchange.opened for exchange in self._exchanges),
            first_reply=_gather(exchange.first_reply for exchange in self._exchanges),
            seconds=self._seconds,
            errors=dict(self._errors),
        )


def _gather(values: Iterable[int | None]) -> Histogram:
    histogram = Histogram()
    for value in values:
        if value is not None:
            histogram.record(value)
    return histogram


def _allow_descriptors(wanted: int) -> None:
    """Raise this process's limit of descriptors to what is wanted, within the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        most = hard - _SPARE_DESCRIPTORS
        raise SettingError(f"connections: this process may have {most} at most (ulimit -n {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
