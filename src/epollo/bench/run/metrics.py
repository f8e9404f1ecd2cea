"""The figures of a run while it goes on, second by second."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import IN_WARMUP
from epollo.bench.results.second import Second
from epollo.bench.results.series import RecordedSeries, SecondSink
from epollo.bench.run.open_seconds import Histograms, OpenSeconds

NEVER = 1 << 62  # ns
SECOND = 10**9  # ns
_NOTHING = Histogram()  # instead of those that are not known yet
_SHORTEST = 0.5  # seconds, of the last one: the rate of a shorter one means nothing


class RunCounters:
    """The counters of a run, kept once a second. The backend's MessageCounters inherits it, and
    adds the work per message.

    A message belongs to the second in which it was due, however late its reply: a stall shows in
    the second in which it began.
    """

    # What the backend adds:
    sending: bool  # may more be sent?
    begin: int  # ns; messages due before are not measured
    end: int  # ns; messages due then or later are not sent
    second_start: int  # ns, of the present second
    second_end: int
    sent: int  # measured messages
    correct: int  # of those, answered correctly
    late_replies: int  # correct replies in the window to messages due before it
    bytes_sent: int
    bytes_received: int
    outstanding: int  # of all messages
    open_loop: bool
    record: Callable[[int, int, int], None]  # how long a message took: due, sent, answered
    count_dropped: Callable[[int], None]  # this number of messages had no correct reply
    record_many: Callable[[int, int, int, int], None]  # due, response, service, how many
    recorders: Callable[[], Callable[[], Any]]  # what makes those of a second
    select: Callable[[Any], None]  # the recorders of the present second
    area: int  # message-ns since ``area_start``, without those of messages still outstanding
    area_start: int  # ns

    def __init__(
        self,
        quota: int | None,
        due: Callable[[float], float] | None,
        over: Callable[[], object],
        sink: SecondSink | None = None,
    ) -> None:
        self.errors: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()  # connections, by the reason
        self._early: Counter[str] = Counter()  # errors of messages due before the window
        self.seconds: SecondSink = RecordedSeries() if sink is None else sink
        self.live: deque[Second] | None = None  # seconds to be shown, before late replies to them
        self._open = OpenSeconds(self.recorders(), self.seconds.amend)
        self._counted: deque[Second] = deque()  # of the open seconds, still without histograms
        self.select(self._open.present)
        self.started: float = time.time()  # to be shown: no time is measured with it
        self.ended_at: int = 0
        self.quota: int = quota or NEVER
        self._due = due
        self._over = over
        self._before = (0, 0, 0)  # sent, answered and errors when the present second began
        self._answered = self._outstanding = 0  # at the end of the window
        self._area = 0  # message-ns outstanding in the window
        self._area_begin = self._area_end = 0  # ns

    def open_window(self, begin: int, seconds: float | None) -> None:
        """Measure ``seconds`` from ``begin`` ns on; None: until the quota is sent."""
        self.begin = self.second_start = begin
        self.second_end = begin + SECOND
        self.end = NEVER if seconds is None else begin + round(seconds * SECOND)
        self.started = time.time() + (begin - time.monotonic_ns()) / SECOND
        self.begin_area()  # for a tester so late that the window is over when it looks

    def begin_area(self) -> None:
        """The window begins: messages outstanding are added up from now on. Nothing, if it is over
        already."""
        if self.sending:
            self._sum_up_area()
            self._area, self._area_begin = 0, self.area_start

    @property
    def average_outstanding(self) -> float | None:
        """Messages outstanding, on average over the window; None if it never was open."""
        if self.ended_at <= self.begin or self._area_end <= self._area_begin:
            return None
        return self._area / (self._area_end - self._area_begin)

    @property
    def message_time(self) -> int:
        """Messages outstanding, multiplied by the time for which they were: in message-ns."""
        return self._area + self.area + self.outstanding * (time.monotonic_ns() - self.area_start)

    def _sum_up_area(self) -> None:
        """Add what was outstanding since the last call to the integral."""
        now = time.monotonic_ns()
        self._area += self.area + self.outstanding * (now - self.area_start)
        self.area, self.area_start = 0, now

    def count(self, error: str) -> None:
        """Count an error that belongs to no message. ``error`` is its name in the result."""
        self.errors[error] += 1

    def count_message(self, error: str, due: int, times: int = 1) -> None:
        """The message due at ``due`` ns was answered wrongly, or not at all."""
        (self.errors if due >= self.begin else self._early)[error] += times

    def give_up(self, error: str, due: int, sent: int, timeout_ns: int) -> None:
        """The message due at ``due`` ns will have no reply.

        It is counted and recorded with the whole timeout at least (censored): a message lost early
        with its connection must not look quick.
        """
        if due >= self.second_end:
            self.roll(due)
        self.count_message(error, due)
        self.record(due, sent, max(time.monotonic_ns(), sent + timeout_ns))

    def finish(self, at: int) -> None:
        """Send no more from ``at`` ns on, or from the end of the window if that is earlier."""
        if self.sending:
            self.sending = False
            self.end_at(max(min(at, self.end), self.begin if self.begin < NEVER else 0))
            self._over()

    def end_at(self, at: int) -> None:
        """End the window at ``at`` ns, now. Later replies count neither for its rate nor for its
        queue; otherwise a server with a backlog would seem to keep up."""
        self._sum_up_area()
        self.ended_at, self._area_end = at, self.area_start
        self._answered = self.correct + self.late_replies
        self._outstanding = self.outstanding

    def roll(self, now: int) -> None:
        """Close each second that is over at ``now`` ns."""
        while self.second_end <= min(now, self.end):
            self._close_second(SECOND)
            self.second_start += SECOND
            self.second_end += SECOND

    def close(self) -> None:
        """Close the last second; a short one is joined with the one before.

        Errors of the warm-up are summed up as one kind of error, because the other kinds are parts
        of the measured messages. If no message was measured, they keep their kinds.
        """
        if self.begin < NEVER:
            self.roll(self.ended_at)
            self._close_second(self.ended_at - self.second_start)
        self._close_open()
        if self.sent:
            self.errors[IN_WARMUP] += self._early.total()
        else:
            self.errors += self._early

    def recorders_of(self, due: int) -> Any:
        """The recorders of the second that contains ``due``."""
        return self._open.of((due - self.begin) // SECOND)

    def totals(self) -> Histograms:
        """Response, service and slip of the window, once it is closed."""
        return self._open.totals()

    def _close_open(self) -> None:
        """Close all seconds; a short last one is joined with the one before."""
        closed = list(self._open.close())
        seconds = [
            second.having(*histograms)
            for second, histograms in zip(self._counted, closed, strict=True)
        ]
        self._counted.clear()
        if len(seconds) > 1 and seconds[-1].seconds < _SHORTEST:
            last = seconds.pop()
            seconds.append(seconds.pop().followed_by(last))
        for second in seconds:
            self.seconds.append(second)
        self.seconds.complete()

    def _close_second(self, length: int) -> None:
        if not length:  # the window ended with the second before
            return
        start = float(self._open.number)
        seconds = length / SECOND
        answered = self.correct + self.late_replies if self.sending else self._answered
        errors = self.errors.total() + self._early.total()
        second = Second(
            start=start,
            seconds=seconds,
            target=self._target(start, seconds),
            sent=self.sent - self._before[0],
            messages=answered - self._before[1],
            errors=errors - self._before[2],
            outstanding=self.outstanding if self.sending else self._outstanding,
            response=_NOTHING,
            service=_NOTHING,
            slip=_NOTHING,
        )
        self._before = (self.sent, answered, errors)
        self._counted.append(second)
        joined = seconds < _SHORTEST and start > 0
        if self.live is not None and not joined:
            self.live.append(second.having(*self._open.present.histograms()))
        closed = self._open.next()
        self.select(self._open.present)
        if closed is not None:
            self.seconds.append(self._counted.popleft().having(*closed))

    def _target(self, start: float, seconds: float) -> float | None:
        if self._due is None or not seconds:
            return None
        return (self._due(start + seconds) - self._due(start)) / seconds
