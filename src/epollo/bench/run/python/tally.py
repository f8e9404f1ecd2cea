"""The figures of a run, message by message."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from epollo.bench.results.histogram import Histogram
from epollo.bench.run.metrics import NEVER, Ledger


class Tally(Ledger):
    """What all exchanges of a run count and record in."""

    def __init__(
        self, quota: int | None, due: Callable[[float], float] | None, over: Callable[[], object]
    ) -> None:
        self.open_loop = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.sent = self.right = self.carried = self.outstanding = 0
        self.bytes_sent = self.bytes_received = 0
        self._begin_second()
        super().__init__(quota, due, over)

    def admit(self, due: int) -> bool:
        """May the message that is due at that time be sent? Counts it."""
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

    def left(self, due: int, size: int) -> int:
        """A message of ``size`` bytes is sent; returns when, in ns."""
        now = monotonic_ns() if self.open_loop else due
        if due >= self.begin:
            self.bytes_sent += size
            if self.open_loop:
                self._slip_of(due).record(now - due)
        return now

    def _slip_of(self, due: int) -> Histogram:
        """The one of the second in which that was due."""
        return self.slip if due >= self.second_start else self.histograms_of(due)[2]

    def answered(self, due: int, sent: int, now: int, size: int) -> None:
        """A message was answered rightly, with ``size`` bytes."""
        self.outstanding -= 1
        if due >= self.begin:
            self.right += 1
            self.bytes_received += size
            self.record(due, sent, now)
        elif now >= self.begin:
            self.carried += 1

    def record(self, due: int, sent: int, now: int) -> None:
        """How long a message took that was answered, or how long it was waited for."""
        if due >= self.second_start:
            response, service = self.response, self.service
        elif due >= self.begin:
            response, service, _ = self.histograms_of(due)
        else:
            return
        response.record(now - due)
        if self.open_loop:
            service.record(now - sent)

    def take(self) -> tuple[Histogram, Histogram, Histogram]:
        """Response, service and slip since the last time."""
        taken = self.response, self.service, self.slip
        self._begin_second()
        return taken

    def _begin_second(self) -> None:
        self.response, self.slip = Histogram(), Histogram()
        self.service = Histogram() if self.open_loop else self.response
