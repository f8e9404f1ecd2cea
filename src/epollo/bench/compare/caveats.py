"""What a reader must know before comparing the figures of runs, one line each."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from epollo.bench.compare.pieces import SHORTEST, sampled, whole_seconds
from epollo.bench.results import loads
from epollo.bench.results.agent import missing
from epollo.bench.results.result import LATE, Result
from epollo.units import format_seconds

_BEGINNING = 120  # seconds
_STANDS_OUT = 1.05  # times the median


def of(sides: Sequence[Sequence[Result]], names: Sequence[str]) -> list[str]:
    """The caveats of all sides; ``names`` are those of the sides."""
    different = "; ".join(loads.differences([[run.workload for run in side] for side in sides]))
    notes = [f"not the same load: {different}"] if different else []
    alone = [len(side) == 1 for side in sides]
    for name, side, single in zip(names, sides, alone, strict=True):
        seconds = whole_seconds(side[0])
        if single and alone[0] and sum(alone) > 1 and seconds < SHORTEST:
            notes.append(f"{name}: {_shortness(seconds)}")
        for number, run in enumerate(side, 1):
            called = name if single else f"{name}, run {number}"
            notes += [f"{called}: {note}" for note in _of_run(run)]
    return notes


def _shortness(seconds: int) -> str:
    return f"too short to compare: {seconds} seconds; run at least {SHORTEST}s"


def _of_run(run: Result) -> Iterator[str]:
    load = run.workload
    step, what = sampled(run)
    if step > 1:
        yield f"intervals are from one in {step} of its {what}, as it has a great many"
    if run.partial:
        yield "it did not end, and its file is only partial"
    for agent in missing(run.agents):
        yield f"the share of {agent.name} is missing: it {agent.missing}"
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
