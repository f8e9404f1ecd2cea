"""What is to be thought of a run: did it fail, and the line that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from epollo.bench.load.messages import are_distinct
from epollo.bench.load.payload import Fault
from epollo.bench.results.result import LATE, Result
from epollo.bench.workload import Workload
from epollo.units import format_seconds

ALL_ERRORS = "errors"
_BUSY = 0.95  # of the time; a closed loop's tester may limit what it measures from there on
_WHOLE = 0.999  # of the window: clocks are read a little apart


class Limit(Protocol):
    """What a figure of a result may be, as `--fail-if` says it."""

    @property
    def figure(self) -> str:
        """The name of the figure."""

    def check(self, result: Result) -> str | None:
        """The limit that failed, in words; None where it is held."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One result, judged.

    Any error fails a run, unless a limit says how many there may be: one on ``errors`` stands for
    all of them, one on a kind of error for that kind. A run that measured nothing always fails.

    Attributes:
        result: what is judged.
        broken: the limits that failed, in words.
        held: how many limits did not.
        fatal: the kinds of errors that failed the run by themselves.
    """

    result: Result
    broken: tuple[str, ...]
    held: int
    fatal: frozenset[str]

    @classmethod
    def of(cls, result: Result, limits: Sequence[Limit] = ()) -> Verdict:
        """``result``, judged by ``limits``."""
        broken = [words for limit in limits if (words := limit.check(result)) is not None]
        judged = {limit.figure for limit in limits}
        fatal = frozenset() if ALL_ERRORS in judged else frozenset(result.errors) - judged
        return cls(result, tuple(broken), len(limits) - len(broken), fatal)

    @property
    def failed(self) -> bool:
        """Is the exit status 1?"""
        return bool(self.broken or self.fatal) or not self.result.messages

    def __str__(self) -> str:
        judged = [*self.broken, self._errors(), self._lost()]
        facts = [self._rate(), self._slip(), self._busy()]
        parts = [*judged, *facts] if self.failed else [*facts, *judged]
        parts += [self._limits(), self._end()]
        line = "; ".join(part for part in parts if part)
        return f"FAILED: {line}" if self.failed else line

    def _errors(self) -> str:
        errors = self.result.errors
        if errors:
            allowed = "" if self.fatal else ", which the limits allow"
            return f"{_counted(errors)}{allowed}"
        if not self.result.messages:
            return "no message was measured"
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
        if result.on_time:
            return late
        advice = "lower --rate, add --processes, or stop what runs beside it"
        cause = "had no connection, or was slow" if result.lost else "was slow"
        return f"{late}, so the tester {cause}: {advice}"

    def _busy(self) -> str:
        """An open loop's tester is judged by its slip."""
        busy = self.result.busy
        if self.result.workload.open_loop or busy < _BUSY:
            return ""
        share = f"{100 * busy:.0f} % of the time"
        return f"the tester was busy for {share}, and may limit it: add --processes"

    def _limits(self) -> str:
        if not self.held:
            return ""
        return f"{self.held} limit{'s' * (self.held > 1)} held"

    def _end(self) -> str:
        """Why it was over before its time, if it was."""
        result, load = self.result, self.result.workload
        if result.interrupted:
            return "ended early, as asked"
        all_sent = load.messages is not None and result.sent >= load.messages
        to_the_end = load.seconds is not None and result.elapsed >= load.seconds * _WHOLE
        if all_sent or to_the_end or not result.messages:
            return ""
        return f"ended after {format_seconds(result.elapsed)}, when no connection was left"


def _counted(errors: dict[str, int]) -> str:
    """Each kind with its number; what is wrong with replies together."""
    counts = {name: count for name, count in errors.items() if name not in tuple(Fault)}
    wrong = sum(errors.values()) - sum(counts.values())
    if wrong:
        counts["mismatches"] = wrong
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _verified(load: Workload) -> str:
    if load.expect == "echo":
        order = "in order and " if are_distinct(load) else ""
        return f", {order}verified to the byte"
    return (
        "; what they said was not looked at"
        if load.expect == "any"
        else f", right by {load.expect}"
    )
