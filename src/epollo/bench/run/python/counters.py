"""The figures of a run, message by message."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from epollo.bench.results.histogram import Histogram
from epollo.bench.run.metrics import NEVER, RunCounters


class MessageCounters(RunCounters):
    """All connections of a run count and record in this object."""

    sending: bool
    begin: int
    end: int
    second_start: int
    second_end: int
    sent: int
    correct: int
    late_replies: int
    outstanding: int
    bytes_sent: int
    bytes_received: int
    response: Histogram
    service: Histogram
    slip: Histogram

    def __init__(
        self, quota: int | None, due: Callable[[float], float] | None, over: Callable[[], object]
    ) -> None:
        self.open_loop: bool = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.sent = self.correct = self.late_replies = self.outstanding = 0
        self.bytes_sent = self.bytes_received = 0
        self._begin_second()
        super().__init__(quota, due, over)

    def admit(self, due: int) -> bool:
        """May the message due at ``due`` ns be sent? Counts it."""
        if not self.sending:
            return False
        if due >= self.second_end:
            self.roll(due)
        if due >= self.begin:
            if due >= self.end:
                self.finish(due)
                return False
            self.sent += 1
            if self.sent >= self.quota:
                self.finish(due)
        self.outstanding += 1
        return True

    def count_sent(self, due: int, size: int) -> int:
        """A message of ``size`` bytes is sent; returns the time in ns."""
        now = monotonic_ns() if self.open_loop else due
        if due >= self.begin:
            self.bytes_sent += size
            if self.open_loop:
                self._slip_of(due).record(max(0, now - due))
        return now

    def _slip_of(self, due: int) -> Histogram:
        """The slip histogram of the second that contains ``due``."""
        return self.slip if due >= self.second_start else self.histograms_of(due)[2]

    def count_reply(self, due: int, sent: int, now: int, size: int) -> None:
        """A message got its correct reply, of ``size`` bytes."""
        self.outstanding -= 1
        if due >= self.begin:
            self.correct += 1
            self.bytes_received += size
            self.record(due, sent, now)
        elif now >= self.begin:
            self.late_replies += 1

    def record(self, due: int, sent: int, now: int) -> None:
        """Record how long a message took, or how long its reply was waited for; less than 0 counts
        as 0, as in the native backend."""
        if due >= self.second_start:
            response, service = self.response, self.service
        elif due >= self.begin:
            response, service, _ = self.histograms_of(due)
        else:
            return
        response.record(max(0, now - due))
        if self.open_loop:
            service.record(max(0, now - sent))

    def interval_histograms(self) -> tuple[Histogram, Histogram, Histogram]:
        """Response, service and slip since the last call."""
        histograms = self.response, self.service, self.slip
        self._begin_second()
        return histograms

    def _begin_second(self) -> None:
        self.response, self.slip = Histogram(), Histogram()
        self.service = Histogram() if self.open_loop else self.response
