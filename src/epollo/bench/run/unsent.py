"""Messages of an open loop that were due and never sent: counted at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from epollo.bench.load.rates import Profile
from epollo.bench.results.result import UNSENT
from epollo.bench.run.metrics import SECOND, RunCounters
from epollo.bench.run.schedule import Schedule

_SINGLY = 10_000  # messages; more of them are counted in bulk, however many there are
_PRECISION = 2000  # parts of a waiting time, to which the due time of a message is known in bulk


def count_unsent(
    schedule: Schedule, counters: RunCounters, profile: Profile, now: int, timeout_ns: int
) -> None:
    """Count and record those that were due in the window. ``schedule`` follows ``profile``.

    The waits of a great many are known to a thousandth, as are the buckets of the histogram.
    """
    left = counters.quota - counters.sent - counters.errors[UNSENT]
    for due in islice(schedule.unsent(counters.ended_at), _SINGLY):
        if left <= 0:
            return
        if due >= counters.begin:
            counters.give_up(UNSENT, due, due, timeout_ns)
            left -= 1
    first = max(schedule.due_at, counters.begin)
    for start, end in _slices(first, counters, now, timeout_ns):
        times = [(at - schedule.start_at) / SECOND for at in (start, end)]
        before, after = (round(profile.due(time)) for time in times)
        count = min(left, after - before)
        if count <= 0:
            continue
        if start >= counters.second_end:
            counters.roll(start)
        waited = max(now - (start + end) // 2, timeout_ns)
        counters.count_message(UNSENT, start, count)
        counters.record_many(start, waited, waited, count)
        left -= count


def _slices(
    start: int, counters: RunCounters, now: int, timeout_ns: int
) -> Iterator[tuple[int, int]]:
    """The rest of the window from ``start`` on, in pieces whose messages waited equally long, to
    the precision of the histogram. No piece is in two seconds."""
    while start < counters.ended_at:
        end = start + SECOND - (start - counters.begin) % SECOND
        if now - start > timeout_ns:
            end = min(end, start + (now - start) // _PRECISION + 1)
        end = min(end, counters.ended_at)
        yield start, end
        start = end
