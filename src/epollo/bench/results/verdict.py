"""Did a run fail, and the line that says why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from epollo.bench.load.payload import Fault
from epollo.bench.messages import are_distinct, assumes_order, matched_by
from epollo.bench.results import lateness
from epollo.bench.results.agent import AgentPart, missing
from epollo.bench.results.culprit import Culprit
from epollo.bench.results.culprit_words import blame
from epollo.bench.results.precision import Precision
from epollo.bench.results.result import LATE, Result
from epollo.bench.results.thresholds import Threshold
from epollo.bench.workload import Workload
from epollo.units import format_seconds

ALL_ERRORS = "errors"
_BUSY = 0.95  # of the time; from there on, the tester of a closed loop may be the bottleneck
_WHOLE = 0.999  # of the window: its ends are not read at exactly the same time


@dataclass(frozen=True, slots=True)
class Verdict:
    """A result, and whether it failed.

    Any error fails a run, unless a limit says how many errors are allowed: a limit on ``errors``
    is for all of them, a limit on one kind of error for that kind. A run that measured nothing
    always fails.

    Attributes:
        result: the result.
        broken: why each broken limit is broken.
        held: the number of limits that held.
        fatal: the kinds of errors that fail the run and have no limit.
    """

    result: Result
    broken: tuple[str, ...]
    held: int
    fatal: frozenset[str]

    @classmethod
    def of(cls, result: Result, limits: Sequence[Threshold] = ()) -> Verdict:
        """The verdict on ``result`` with these limits."""
        broken = [words for limit in limits if (words := limit.check(result)) is not None]
        limited = {limit.figure for limit in limits}
        fatal = frozenset() if ALL_ERRORS in limited else frozenset(result.errors) - limited
        return cls(result, tuple(broken), len(limits) - len(broken), fatal)

    def stopped(self, limit: Threshold, why: str) -> Verdict:
        """The verdict on a run that was stopped because it broke ``limit``, as ``why`` says. That
        counts even if its figure is within the limit at the end."""
        others = [words for words in self.broken if not words.endswith(f"({limit.text})")]
        held = self.held - (len(others) == len(self.broken))
        return replace(self, broken=(f"{why}: stopped", *others), held=held)

    @property
    def failed(self) -> bool:
        """Is the exit status 1?"""
        imprecise = not all(each.reached for each in self.result.precision)
        incomplete = bool(missing(self.result.agents))
        failed = bool(self.broken or self.fatal or imprecise or incomplete)
        return failed or not self.result.messages

    def __str__(self) -> str:
        reached, missed = self._precision(True), self._precision(False)
        faults = [*self._missing(), *self.broken, *missed, self._errors(), self._lost()]
        facts = [*reached, self._rate(), self._slip(), self._busy(), blame(self.result)]
        parts = [*faults, *facts] if self.failed else [*facts, *faults]
        parts += [self._limits(), self._end()]
        line = "; ".join(part for part in parts if part)
        return f"FAILED: {line}" if self.failed else line

    def _missing(self) -> Iterator[str]:
        """The share of each agent without a result: what was measured is not the whole load."""
        result = self.result
        for place, agent in enumerate(result.agents, 1):
            if agent.missing:
                yield (
                    f"share {place} of {len(result.agents)} is missing ({agent.connections:,} of "
                    f"{result.workload.connections:,} connections{_rate_of(agent, result)}): "
                    f"{agent.name} {agent.missing}"
                )

    def _errors(self) -> str:
        errors = self.result.errors
        if errors:
            allowed = "" if self.fatal else ", which the limits allow"
            return f"{_counted(errors)}{allowed}"
        if not self.result.messages:
            return "no message was measured"
        if self.result.workload.expect == "none":
            return "every message was sent, without replies; no errors"
        return f"every reply came{_verified(self.result.workload)}; no errors"

    def _lost(self) -> str:
        lost = self.result.lost
        return f"{lost:,} connection{'s' * (lost > 1)} lost" if lost else ""

    def _rate(self) -> str:
        target = self.result.target
        if target is None:
            return ""
        return f"{self.result.rate:,.0f} of {target:,.0f} msg/s"

    def _slip(self) -> str:
        result = self.result
        if not result.slip.total:
            return ""
        late = f"{100 * result.late:.3g} % sent over {format_seconds(LATE / 1e9)} late"
        if result.on_time or (self._blames_tester and not result.lost):  # `blame` says why
            return late
        return f"{late}, so the tester {lateness.cause(result)}: {lateness.advice(result)}"

    def _busy(self) -> str:
        """Only for a closed loop: the slip shows how an open loop's tester kept up."""
        busy = self.result.busy
        if self.result.workload.open_loop or busy < _BUSY or self._blames_tester:
            return ""
        part = f"{100 * busy:.0f} % of the time"
        return f"the tester was busy for {part}, and may limit the rate: add --processes"

    def _precision(self, reached: bool) -> list[str]:
        """The goals that were reached, or those that were not."""
        return [precise(each) for each in self.result.precision if each.reached is reached]

    @property
    def _blames_tester(self) -> bool:
        known = self.result.delays is not None
        return known and self.result.culprit in (Culprit.READER, Culprit.MACHINE)

    def _limits(self) -> str:
        if not self.held:
            return ""
        return f"{self.held} limit{'s' * (self.held > 1)} held"

    def _end(self) -> str:
        """Why it ended early, if it did."""
        result, load = self.result, self.result.workload
        if result.partial:
            return "a partial result: the run did not end, or goes on"
        if result.interrupted:
            return "ended early, as asked"
        if result.precision and all(each.reached for each in result.precision):
            return ""
        all_sent = load.messages is not None and result.sent >= load.messages
        to_the_end = load.seconds is not None and result.elapsed >= load.seconds * _WHOLE
        if all_sent or to_the_end or not result.messages:
            return ""
        return f"ended after {format_seconds(result.elapsed)}, when no connection was left"


def _rate_of(agent: AgentPart, result: Result) -> str:
    """The part of an agent of the rate of an open loop."""
    target = result.target
    return "" if target is None else f", {target * agent.part:,.0f} of {target:,.0f} msg/s"


def precise(each: Precision) -> str:
    """How precisely a figure is known, in words."""
    if each.value is None:
        return f"{each.figure} is not known: too few messages ({each.goal})"
    show = "{:,.6g}/s".format if each.figure == "rate" else format_seconds
    if each.low is None:
        why = "the run was too short to tell how precise that is"
        return f"{each.figure} is {show(each.value)}, but {why} ({each.goal})"
    width = f"±{100 * each.distance:.2g} %"
    known = width if each.distance < math.inf else "with no upper bound"
    missed = "" if each.reached else f", not within {100 * each.within:g} %"
    return f"{each.figure} is {show(each.value)} {known}{missed} ({each.goal})"


def _counted(errors: dict[str, int]) -> str:
    """Each kind of error with its count; wrong replies of all kinds together."""
    counts = {name: count for name, count in errors.items() if name not in tuple(Fault)}
    wrong = sum(errors.values()) - sum(counts.values())
    if wrong:
        counts["wrong_replies"] = wrong
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _verified(load: Workload) -> str:
    if load.expect == "echo":
        in_order = are_distinct(load) and not load.match
        return f", {'in order and ' * in_order}verified to the byte{_matched(load)}"
    if load.expect == "any":
        return f"; their content was not verified{_matched(load)}"
    return f", accepted by {load.expect}{_matched(load)}"


def _matched(load: Workload) -> str:
    if matched_by(load) == "identifier":
        return f", matched by {load.match}"
    return "; their order was assumed (see --match)" if assumes_order(load) else ""
