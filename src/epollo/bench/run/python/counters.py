"""The figures of a run, message by message."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Any

from epollo.bench.results.series import SecondSink
from epollo.bench.run.metrics import NEVER, RunCounters
from epollo.bench.run.python.recorder import Recorder, Recorders


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
    area: int
    area_start: int
    response: Recorder
    service: Recorder
    slip: Recorder

    def __init__(
        self,
        quota: int | None,
        due: Callable[[float], float] | None,
        over: Callable[[], object],
        sink: SecondSink | None = None,
    ) -> None:
        self.open_loop: bool = due is not None
        self.sending = True
        self.begin = self.end = self.second_start = self.second_end = NEVER
        self.sent = self.correct = self.late_replies = self.outstanding = 0
        self.bytes_sent = self.bytes_received = 0
        self.area, self.area_start = 0, monotonic_ns()
        super().__init__(quota, due, over, sink)

    def recorders(self) -> Callable[[], Recorders]:
        """A function that makes the recorders of a second."""
        return partial(Recorders, self.open_loop)

    def select(self, recorders: Recorders) -> None:
        """Record the messages of the present second there."""
        self.response, self.service = recorders.response, recorders.service
        self.slip = recorders.slip

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
        self.area -= now - self.area_start
        if due >= self.begin:
            self.bytes_sent += size
            if self.open_loop:
                slip = self.slip if due >= self.second_start else self.recorders_of(due).slip
                slip.record(max(0, now - due))
        return now

    def count_reply(self, due: int, sent: int, now: int, size: int) -> None:
        """A message got its correct reply, of ``size`` bytes."""
        self.outstanding -= 1
        self.area += now - self.area_start
        if due >= self.begin:
            self.correct += 1
            self.bytes_received += size
            self.record(due, sent, now)
        elif now >= self.begin:
            self.late_replies += 1

    def record(self, due: int, sent: int, now: int) -> None:
        """Record how long a message took, or how long its reply was waited for; less than 0 counts
        as 0, as in the native backend."""
        self.record_many(due, max(0, now - due), max(0, now - sent), 1)

    def record_many(self, due: int, response: int, service: int, count: int) -> None:
        """Record ``count`` messages due at ``due`` ns that took so long."""
        if due < self.begin:
            return
        recorders: Any = self if due >= self.second_start else self.recorders_of(due)
        recorders.response.record_many(response, count)
        if self.open_loop:
            recorders.service.record_many(service, count)

    def count_dropped(self, count: int) -> None:
        """``count`` messages are no longer outstanding, and had no correct reply."""
        self.outstanding -= count
        self.area += count * (monotonic_ns() - self.area_start)
