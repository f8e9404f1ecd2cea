"""The figures of a run as it goes on, second by second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Second

NEVER = 1 << 62  # ns
SECOND = 10**9  # ns
IN_WARMUP = "in_warmup"
UNSENT = "unsent"
_SHORTEST = 0.5  # seconds, of the last one: a rate over less says nothing


class Ledger:
    """What is kept of a run once a second. An engine's tally inherits it, and adds what is done
    once a message.

    A message belongs to the second in which it was due, however late its answer: a stall shows
    in the second that it began in.
    """

    # What the engine adds:
    sending: bool  # may more be sent?
    begin: int  # ns; what is due before is not measured
    end: int  # ns; what is due then, or later, is not sent
    second_start: int  # ns, of the present second
    second_end: int
    sent: int  # of the messages measured
    right: int  # of those, answered rightly
    carried: int  # right replies in the window to what was due before it
    bytes_sent: int
    bytes_received: int
    outstanding: int  # of all messages
    open_loop: bool
    record: Callable[[int, int, int], None]  # how long a message took: due, sent, answered
    take: Callable[[], tuple[Histogram, Histogram, Histogram]]  # of the second that ends

    def __init__(
        self, quota: int | None, due: Callable[[float], float] | None, over: Callable[[], object]
    ) -> None:
        self.errors: Counter[str] = Counter()
        self.lost = 0  # connections
        self._early: Counter[str] = Counter()  # of what was due before the window
        self.seconds: list[Second] = []
        self.started = time.time()  # for people: nothing is measured by it
        self.ended_at = 0
        self.quota = quota or NEVER
        self._due = due
        self._over = over
        self._before = (0, 0, 0)  # sent, answered and errors when the present second began
        self._answered = self._waiting = 0  # in the window, and at its end, once that is over

    def open_window(self, begin: int, seconds: float | None) -> None:
        """Measure from ``begin`` ns on, for so long; None: until the quota is sent."""
        self.begin = self.second_start = begin
        self.second_end = begin + SECOND
        self.end = NEVER if seconds is None else begin + round(seconds * SECOND)
        self.started = time.time() + (begin - time.monotonic_ns()) / SECOND

    def count(self, error: str) -> None:
        """An error of the kind that ``error`` names in the result."""
        self.errors[error] += 1

    def miss(self, error: str, due: int, times: int = 1) -> None:
        """The message due at that time was answered wrongly, or not at all."""
        (self.errors if due >= self.begin else self._early)[error] += times

    def give_up(self, error: str, due: int, sent: int, patience: int) -> None:
        """The message due at that time will have no reply: counted, never dropped, and recorded
        (censored) as if it had been waited for as long as for any, for what ends with its
        connection must not look quick."""
        if due >= self.second_end:
            self.roll(due)
        self.miss(error, due)
        self.record(due, sent, max(time.monotonic_ns(), sent + patience))

    def finish(self, at: int) -> None:
        """Send no more: at ``at`` ns, or where the window ends, if that is before."""
        if self.sending:
            self.sending = False
            self.end_at(max(min(at, self.end), self.begin if self.begin < NEVER else 0))
            self._over()

    def end_at(self, at: int) -> None:
        """The window ends now, at ``at`` ns. What is answered later makes it no faster, and its
        queue no shorter: a server with a backlog would seem to keep up."""
        self.ended_at = at
        self._answered = self.right + self.carried
        self._waiting = self.outstanding

    def roll(self, now: int) -> None:
        """Close each second that is over by ``now``."""
        while self.second_end <= min(now, self.end):
            self._close_second(SECOND)
            self.second_start += SECOND
            self.second_end += SECOND

    def close(self) -> None:
        """Close the last second; a short rest goes with the one before.

        What went wrong before the window is an error too, but of a kind of its own: the others are
        parts of the messages measured. Where none was measured, they say why.
        """
        if self.begin < NEVER:
            self.roll(self.ended_at)
            self._close_second(self.ended_at - self.second_start)
        if len(self.seconds) > 1 and self.seconds[-1].seconds < _SHORTEST:
            rest = self.seconds.pop()
            self.seconds.append(self.seconds.pop().followed_by(rest))
        if self.sent:
            self.errors[IN_WARMUP] += self._early.total()
        else:
            self.errors += self._early

    def histograms_of(self, due: int) -> tuple[Histogram, Histogram, Histogram]:
        """Response, service and slip of the second, closed before, in which that was due."""
        second = self.seconds[(due - self.begin) // SECOND]
        return second.response, second.service, second.slip

    def _close_second(self, length: int) -> None:
        response, service, slip = self.take()
        if not length:  # the window ended with the second before
            return
        start = float(len(self.seconds))
        seconds = length / SECOND
        answered = self.right + self.carried if self.sending else self._answered
        errors = self.errors.total() + self._early.total()
        second = Second(
            start=start,
            seconds=seconds,
            target=self._target(start, seconds),
            sent=self.sent - self._before[0],
            messages=answered - self._before[1],
            errors=errors - self._before[2],
            outstanding=self.outstanding if self.sending else self._waiting,
            response=response,
            service=service,
            slip=slip,
        )
        self._before = (self.sent, answered, errors)
        self.seconds.append(second)

    def _target(self, start: float, seconds: float) -> float | None:
        if self._due is None or not seconds:
            return None
        return (self._due(start + seconds) - self._due(start)) / seconds
