"""``--find-rate``: the highest rate of an open loop at which limits hold, with its confidence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import NormalDist
from time import monotonic
from typing import Any

from epollo.bench.recovery import MOST_SECONDS as MOST_RECOVERY
from epollo.bench.recovery import Run, gentle_rate, recovers
from epollo.bench.results import lateness, thresholds
from epollo.bench.results.result import LATE, Result, merge
from epollo.bench.results.thresholds import Threshold
from epollo.bench.results.verdict import Verdict
from epollo.bench.runs import new_run
from epollo.bench.workload import Workload
from epollo.errors import LimitError, SettingError
from epollo.units import format_seconds

REACHED = 0.99  # of its rate, that a run must send and answer to count as held
VERSION = 1
START = 1000.0  # messages a second
TOLERANCE = 0.05  # of the rate: between the highest that held and the lowest that failed
_LEAST_TOLERANCE = 0.0001  # far above the precision of the rates
REPEATS = 3  # of the rate found, in addition to the run that found it
CONFIDENCE = 0.95
_ENOUGH_FAILURES = 2  # of the lowest rate that failed: one failure may be an accident
_FEWEST_MESSAGES = 10  # of a probe
_HIGHEST = 1e9  # messages a second; above this, the search stops
MOST_RUNS = 60
MOST_SECONDS = 3600.0  # of all runs together; none is begun later
LONGEST_RUN = 60.0  # seconds, to which a run is lengthened so that its percentiles are known


@dataclass(frozen=True, slots=True)
class Probe:
    """One run at one rate. ``why`` says why the limits did not hold; it is empty if they did."""

    rate: float
    result: Result
    why: str

    @property
    def held(self) -> bool:
        """Did the limits hold?"""
        return not self.why


@dataclass(slots=True)
class Search:
    """The search for the highest rate at which ``limits`` hold: all runs so far.

    A rate holds if most of its runs held. Rates are in messages a second.

    Attributes:
        workload: the workload of all runs; its rate is the rate of the first one.
        limits: the limits that must hold.
        tolerance: how far apart the rates may be between which the answer lies, as a part of them.
        probes: all runs, in their order.
        interrupted: the user ended it early.
        ended: why it ended without a complete answer; empty if it did not.
    """

    workload: Workload
    limits: Sequence[Threshold]
    tolerance: float = TOLERANCE
    probes: list[Probe] = field(default_factory=list)
    interrupted: bool = False
    ended: str = ""

    @property
    def rate(self) -> float | None:
        """The highest rate that held; None if none did."""
        return max((rate for rate in self._rates if self._holds(rate)), default=None)

    @property
    def lowest_failed(self) -> float | None:
        """The lowest rate that failed above ``rate``; None if none did."""
        held = self.rate or 0.0
        return min((rate for rate in self._rates if rate > held), default=None)

    @property
    def held(self) -> int:
        """The number of ``runs`` at ``rate`` in which the limits held."""
        return sum(probe.held for probe in self._at(self.rate))

    @property
    def runs(self) -> int:
        """The number of runs at ``rate``."""
        return len(self._at(self.rate))

    @property
    def confidence(self) -> tuple[float, float]:
        """The 95 % interval of the part of runs at ``rate`` that hold: the score interval of a
        binomial proportion (Wilson, JASA 22, 1927)."""
        return wilson(self.held, self.runs)

    @property
    def failed(self) -> bool:
        """Is there no answer, or an incomplete one?"""
        return self.rate is None or self.interrupted or bool(self.ended)

    @property
    def next_rate(self) -> float | None:
        """The rate of the next run; None if the search is over."""
        low, high = self.rate, self.lowest_failed
        if low is None:
            return self._below(high)
        if high is None:
            return 2 * low if low < _HIGHEST else None
        if high > low * (1 + self.tolerance):
            middle = float(f"{math.sqrt(low * high):.3g}")
            return middle if low < middle < high else math.sqrt(low * high)
        if sum(not probe.held for probe in self._at(high)) < _ENOUGH_FAILURES:
            return high
        return low if self.runs <= REPEATS else None

    def load_at(self, rate: float) -> Workload:
        """The workload of a run at that rate. It is longer than usual if otherwise its messages
        would be too few for the percentiles of the limits."""
        needed = max((limit.fewest for limit in self.limits), default=0) / rate
        usual = self.workload.seconds or 0.0
        longer = min(LONGEST_RUN, float(f"{1.02 * needed:.3g}"))
        return replace(self.workload, rate=rate, duration=max(usual, longer))

    def add(self, result: Result) -> Probe:
        """Add a run; its rate is its workload's."""
        probe = Probe(float(result.workload.rate or 0), result, why_not(result, self.limits))
        self.probes.append(probe)
        return probe

    def as_one(self) -> Result:
        """All runs as one, with one step for each: for pictures."""
        steps = ",".join(
            f"{probe.rate:.6g}/{probe.result.workload.seconds or 0.0:g}" for probe in self.probes
        )
        return self._joined(self.probes, steps)

    def answer(self) -> Result:
        """The runs at the rate found, as one; if none was found, those at the lowest rate."""
        probes = self._answering()
        return self._joined(probes, probes[0].rate)

    @property
    def scope(self) -> str:
        """Describes which runs are in `answer` and in `as_one`."""
        runs = f"A search of {len(self.probes)} runs."
        rate = "the lowest rate tried" if self.rate is None else "that rate"
        return (
            f"{runs} Figures and percentiles are of the {len(self._answering())} at {rate}; "
            "pictures over time, or against the rate, are of all of them, one after the other."
        )

    def _answering(self) -> list[Probe]:
        return self._at(min(self._rates) if self.rate is None else self.rate)

    def _joined(self, probes: Sequence[Probe], rate: str | float) -> Result:
        results = [probe.result for probe in probes]
        seconds, start = [], 0.0
        for result in results:
            seconds += [replace(second, start=start + second.start) for second in result.seconds]
            start += result.elapsed
        workload = replace(self.workload, rate=rate)
        return replace(merge(results), workload=workload, seconds=seconds, elapsed=start)

    def to_json(self) -> str:
        """The search as one JSON document, with each run as in `Result.to_json`; `schema.json`
        describes both."""
        low, high = self.confidence
        document = {
            "search": VERSION,
            "workload": asdict(self.workload),
            "limits": [limit.text for limit in self.limits],
            "tolerance": self.tolerance,
            "interrupted": self.interrupted,
            "ended": self.ended,
            "rate": self.rate,
            "lowest_failed": self.lowest_failed,
            "held": self.held,
            "runs": self.runs,
            "confidence": {"level": CONFIDENCE, "low": low, "high": high},
            "probes": [self._document(probe) for probe in self.probes],
        }
        return json.dumps(document, indent=2)

    def __str__(self) -> str:
        limits = " and ".join(limit.text for limit in self.limits)
        early = "; ended early, as asked" if self.interrupted else ""
        if self.ended:
            early = f"; ended early: {self.ended}"
        if self.rate is None:
            last = min(self.probes, key=lambda probe: probe.rate, default=None)
            why = f" at {show_rate(last.rate)}/s, the lowest tried: {last.why}" if last else ""
            return f"FAILED: no rate found with {limits}{why}{self._always_late()}{early}"
        return f"highest rate with {limits}: {show_rate(self.rate)}/s ({self._sure()}){early}"

    def _sure(self) -> str:
        high = self.lowest_failed
        bracket = f"{show_rate(self.rate or 0)} to {show_rate(high) if high else 'unknown'}"
        part = f"{100 * self.confidence[0]:.0f} % of such runs at least"
        runs = f"held in {self.held} of {self.runs} runs: {part}, {100 * CONFIDENCE:.0f} % sure"
        return f"bracket {bracket}; {runs}{self._late()}"

    def _late(self) -> str:
        """If all failed runs above had a late tester, the limit may be the tester's."""
        above = [probe for probe in self._at(self.lowest_failed) if not probe.held]
        if not above or any(probe.result.on_time for probe in above):
            return ""
        return (
            "; above that the tester was late, so the server may do more: "
            f"{lateness.advice_to_search(probe.result for probe in above)}"
        )

    def _always_late(self) -> str:
        if not self.probes or any(probe.result.on_time for probe in self.probes):
            return ""
        return "; the tester was late in every run: stop other programs"

    @property
    def _rates(self) -> set[float]:
        return {probe.rate for probe in self.probes}

    def _at(self, rate: float | None) -> list[Probe]:
        return [probe for probe in self.probes if probe.rate == rate]

    def _holds(self, rate: float) -> bool:
        runs = self._at(rate)
        return 2 * sum(probe.held for probe in runs) > len(runs)

    def _below(self, lowest: float | None) -> float | None:
        """The rate of the next run while none has held."""
        if lowest is None:
            return self.workload.profile.highest
        seconds = self.workload.seconds or 1.0
        if lowest / 2 * seconds >= _FEWEST_MESSAGES:
            return lowest / 2
        return lowest if len(self._at(lowest)) < _ENOUGH_FAILURES else None

    def _document(self, probe: Probe) -> dict[str, Any]:
        return {
            "rate": probe.rate,
            "achieved": probe.result.rate if probe.result.elapsed else None,
            "held": probe.held,
            "why": probe.why,
            "figures": {limit.text: limit.kind.read(probe.result) for limit in self.limits},
            "result": probe.result.to_document(),
        }


def find_rate(
    workload: Workload,
    *limits: str | Threshold,
    tolerance: float = TOLERANCE,
    progress: Callable[[Probe], object] | None = None,
    run: Run | None = None,
    trial: Run | None = None,
    gentle: bool = False,
) -> Search:
    """The highest rate at which all ``limits``, such as ``"p99<5ms"``, hold.

    Runs ``workload`` at its rate; without one, or if ``gentle``, at 1000 a second or half of what
    one connection reaches in a closed loop, whichever is less. Then doubles the rate until a limit
    fails (or halves it until all hold); then bisects until the two rates are within the
    ``tolerance``.
    The lowest rate that failed is run again, and the rate found three times more. Each run has a
    warm-up and a window of its own; at a low rate it is longer, up to a minute, so that percentiles
    are known. It also fails if there are errors, if the queue grows from beginning to end, or if
    the tester did not keep its schedule.

    After a run that failed, the search waits until the server has recovered. It ends if that takes
    more than a minute, after 60 runs, or after an hour.

    ``progress`` is called after each run; ``run`` runs a workload, instead of `epollo.bench.run`;
    ``trial`` likewise, between the runs: without it, one's own ``run`` is called for runs only.
    Raises what that raises, LimitError, ResultFileError, and SettingError for a ``tolerance``
    under 0.0001, and for a ``workload`` with a number of messages, a ramp or steps.
    """
    if not isinstance(workload, Workload):
        raise SettingError(f"workload: {workload!r} is not a Workload; write Workload(address=...)")
    if not limits:
        raise LimitError("find-rate: needs a limit such as p99<5ms")
    wanted = [
        each if isinstance(each, Threshold) else thresholds.requirement(each) for each in limits
    ]
    _check_tolerance(tolerance)
    gentle = gentle or workload.rate is None
    search = Search(_probing(workload), wanted, tolerance)
    if run is None:
        run = trial = trial or (lambda load: new_run(load).run())
    if gentle and trial is not None:
        _begin_gently(search, trial)
    end = monotonic() + MOST_SECONDS
    while (rate := search.next_rate) is not None:
        if len(search.probes) >= MOST_RUNS or monotonic() > end:
            runs = f"after {len(search.probes)} runs, which do not agree"
            search.ended = f"{runs}; give a longer --duration"
            break
        result = run(search.load_at(rate))
        if result.interrupted:
            search.interrupted = True
            break
        probe = search.add(result)
        if progress is not None:
            progress(probe)
        if trial is not None and not probe.held and not recovers(search.workload, trial):
            search.ended = (
                f"the server did not recover within {MOST_RECOVERY:.0f} s from the run at "
                f"{show_rate(rate)}/s; begin lower, with --rate"
            )
            break
    return search


def _begin_gently(search: Search, trial: Run) -> None:
    """Begin at a lower rate, if one connection does not reach twice the rate to begin with."""
    rate, lowest = search.workload.profile.highest, gentle_rate(search.workload, trial)
    if lowest is not None and lowest < rate:
        search.workload = replace(search.workload, rate=lowest)


def _check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that no search could reach. Raises SettingError."""
    if not isinstance(tolerance, int | float) or not _LEAST_TOLERANCE <= tolerance < math.inf:
        raise SettingError(
            f"tolerance: {tolerance!r} is not a number of at least {_LEAST_TOLERANCE}, such as 0.05"
        )


def _probing(workload: Workload) -> Workload:
    """The workload of the first run. Raises SettingError."""
    if workload.until:
        raise SettingError("until: a search ends each run by itself; leave it out")
    if workload.messages is not None:
        raise SettingError("messages: a search runs for a duration at each rate; leave it out")
    if workload.rate is None:
        return replace(workload, rate=START)
    if len(workload.profile.steps) > 1 or workload.profile.seconds is not None:
        raise SettingError(f"rate: {workload.rate!r}: a search starts at one rate, such as 10k")
    return replace(workload, rate=workload.profile.highest)


def why_not(result: Result, limits: Sequence[Threshold]) -> str:
    """Why the run does not count as held; empty if it does."""
    verdict = Verdict.of(result, limits)
    reasons = list(verdict.broken)
    if verdict.fatal:
        reasons.append(", ".join(f"{k} {result.errors[k]:,}" for k in sorted(verdict.fatal)))
    if not result.messages:
        reasons.append("no message was measured")
    if more := _growth(result):
        reasons.append(f"the server fell behind: {more:,} more outstanding at the end")
    if not result.on_time and (reasons or _favours_server(result, limits)):
        late, bound = f"{100 * result.late:.3g} %", format_seconds(LATE / 1e9)
        reasons.insert(0, f"the tester was late: {late} sent over {bound} late")
    return "; ".join(reasons)


def _favours_server(result: Result, limits: Sequence[Threshold]) -> bool:
    """Did the late tester make it easier for the server? Response times include the delay, so
    limits on them are not easier to hold; limits on service times are, and so is a lower rate. The
    rate here is the rate sent, because a slow server is not the tester's fault."""
    wanted = (result.target or 0.0) * result.elapsed
    lower = result.sent < REACHED * wanted - (_chance(wanted) if _is_random(result) else 0)
    return lower or any(limit.figure.startswith("service") for limit in limits)


def _growth(result: Result) -> int:
    """By how much the queue grew since the end of the first second, or in the whole window if it
    has only one; 0 if that may be chance."""
    if not result.seconds:
        return 0
    first, last = result.seconds[0], result.seconds[-1]
    if last is first:
        sent, more = first.sent, min(first.outstanding, first.sent - first.messages)
    else:
        sent = sum(second.sent for second in result.seconds[1:])
        more = last.outstanding - first.outstanding
    # The count of a constant rate does not vary; only the queue does.
    vary = sent if _is_random(result) else last.outstanding
    return more if more > (1 - REACHED) * sent + _chance(vary) else 0


def _is_random(result: Result) -> bool:
    return result.workload.arrival == "poisson"


def _chance(count: float) -> float:
    """How far ``count`` may be off by chance: three standard deviations of a Poisson count."""
    return 3 * math.sqrt(count)


def wilson(held: int, runs: int) -> tuple[float, float]:
    """The score interval of the part of runs that hold, if ``held`` of ``runs`` did."""
    if not runs:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    part, weight = held / runs, z * z / runs
    middle = part + weight / 2
    spread = z * math.sqrt(part * (1 - part) / runs + weight / runs / 4)
    return max(0.0, (middle - spread) / (1 + weight)), min(1.0, (middle + spread) / (1 + weight))


def show_rate(rate: float) -> str:
    """A rate, formatted."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
