"""What a reader must know before comparing the figures of runs, one line each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import LATE, Result
from epollo.bench.results.series import Series, column
from epollo.bench.workload import Workload
from epollo.units import format_seconds

SHORTEST = 10  # seconds that a run needs to be compared
_HALF = 0.5  # seconds; a shorter last second does not count
_BEGINNING = 120  # seconds
_MOST, _SAMPLED = 7200, 720  # seconds: of a run with more than the first, the second are read
_STANDS_OUT = 1.05  # times the median

# These may differ between runs of the same load.
_FREE = {"address", "seed", "duration", "messages", "until"}


def of(sides: Sequence[Sequence[Result]], names: Sequence[str]) -> list[str]:
    """The caveats of all sides; ``names`` are those of the sides."""
    notes = list(_of_loads(sides))
    alone = [len(side) == 1 for side in sides]
    for name, side, single in zip(names, sides, alone, strict=True):
        if single and alone[0] and sum(alone) > 1 and too_short(side[0]):
            notes.append(f"{name}: {_shortness(side[0])}")
        for number, run in enumerate(side, 1):
            called = name if single else f"{name}, run {number}"
            notes += [f"{called}: {note}" for note in _of_run(run)]
    return notes


def too_short(result: Result) -> bool:
    """Does it have too few seconds to know their variance?"""
    return _whole_seconds(result) < SHORTEST


def minutes(result: Result) -> Sequence[Histogram]:
    """The responses of each minute, if its file has them: to read each second of a day takes
    long."""
    return result.seconds.minutes if isinstance(result.seconds, Series) else []


def sampled(result: Result) -> int:
    """One in how many seconds is read to estimate errors: 1 unless there are a great many."""
    count = len(result.seconds)
    return 1 if count <= _MOST or minutes(result) else math.ceil(count / _SAMPLED)


def _shortness(result: Result) -> str:
    return f"too short to compare: {_whole_seconds(result)} seconds; run at least {SHORTEST}s"


def _whole_seconds(result: Result) -> int:
    return sum(length >= _HALF for length in column(result.seconds, "seconds"))


def _of_loads(sides: Sequence[Sequence[Result]]) -> Iterator[str]:
    """One line with all settings that differ."""
    different = []
    for field in fields(Workload):
        values = [[_value(run.workload, field.name) for run in side] for side in sides]
        if field.name in _FREE or all(value == values[0][0] for side in values for value in side):
            continue
        shown = [_shown(side, field.name) for side in sides]
        different.append(f"{field.name} {', '.join(shown)}")
    if different:
        yield f"not the same load: {'; '.join(different)}"


def _value(workload: Workload, name: str) -> Any:
    """The value of a field, in a form that does not depend on how it was written."""
    if name == "rate" and workload.open_loop:
        return workload.profile
    return workload.sizes if name == "size" else getattr(workload, name)


def _shown(side: Sequence[Result], name: str) -> str:
    texts = [_text(getattr(run.workload, name)) for run in side]
    return "/".join(dict.fromkeys(texts))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value or "none")


def _of_run(run: Result) -> Iterator[str]:
    load = run.workload
    if sampled(run) > 1:
        yield f"intervals are from one in {sampled(run)} of its seconds, as it has a great many"
    if run.partial:
        yield "it did not end, and its file is only partial"
    if run.interrupted:
        yield f"it was interrupted after {format_seconds(run.elapsed)}"
    if not run.on_time:
        late = format_seconds(LATE / 1e9)
        yield (
            f"the tester was late: {run.late:.2%} of the messages were sent over {late} late, "
            "so its figures include the tester's delay"
        )
    if not load.warmup:
        yield "it had no warm-up, so its figures include connecting"
    elif _warming(run):
        yield "its first two seconds are its slowest; run it with a longer --warmup"
    if load.open_loop and len({rate for s in load.profile.steps for rate in (s.start, s.end)}) > 1:
        yield f"its rate changes ({load.rate}), so its seconds differ; intervals are wide"


def _warming(run: Result) -> bool:
    """Are the first two seconds clearly slower than all others?

    Only the first two minutes are looked at. Of ten seconds without a trend, the first two are the
    slowest once in 45 runs.
    """
    first = run.seconds[:_BEGINNING]
    means = [second.response.mean for second in first if second.response.total]
    if len(means) < SHORTEST:
        return False
    later = means[2:]
    return min(means[:2]) > max(max(later), _STANDS_OUT * statistics.median(later))
