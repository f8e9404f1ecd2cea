"""Limits that make a run fail: ``p99>5ms``, ``errors>0``, ``rate<50k``, ``p99>1.2*before.json``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from epollo.bench.load.payload import Fault
from epollo.bench.results import files, loads
from epollo.bench.results.result import HISTOGRAMS, IN_WARMUP, UNSENT, Result
from epollo.bench.results.second import SECOND_HISTOGRAMS
from epollo.bench.workload import Workload
from epollo.engine import CloseReason
from epollo.errors import LimitError
from epollo.units import format_seconds, parse_number, parse_seconds

MOMENTS = {"mean": "mean", "sd": "deviation", "min": "minimum", "max": "maximum"}
_LOST = (
    *("unanswered", "closed_early", "closed_idle", "connect_refused", "connect_timeout", "no_port"),
    *(UNSENT, IN_WARMUP),
)
ERRORS = tuple(sorted({*map(str, Fault), *map(str, CloseReason), *_LOST}))
SCALARS = ("rate", "target", "messages", "late", "errors")

_LIMIT = re.compile(r"\s*([\w.]+)\s*(>=|<=|==|>|<)\s*(.+?)\s*")
_BASELINE = re.compile(r"(?:([\d.]+)\s*\*\s*)?(.+)")
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_COMPARE: dict[str, tuple[Callable[[float, float], bool], str]] = {
    ">": (operator.gt, "above"),
    ">=": (operator.ge, "at or above"),
    "<": (operator.lt, "below"),
    "<=": (operator.le, "at or below"),
    "==": (operator.eq, "exactly"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a result.

    Attributes:
        read: its value, times in seconds; None if the run does not have this figure.
        parse: reads a limit of it. Raises ValueError.
        show: formats a value of it.
        missing: why the run does not have it.
        fewest: messages that a run needs to have it.
    """

    read: Callable[[Result], float | None]
    parse: Callable[[str], float]
    show: Callable[[float], str]
    missing: Callable[[Result], str] = lambda _: "the run did not measure it"
    fewest: int = 0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit. The run fails if the comparison is true.

    Attributes:
        text: the limit as the user wrote it.
        figure: the name of the figure.
        kind: how the figure is read and shown.
        comparison: ``> >= < <= ==``.
        limit: in the unit of the figure.
        origin: describes the file the limit comes from; empty if the user wrote a value.
        baseline: that file, and the load of its run; None if the user wrote a value.
    """

    text: str
    figure: str
    kind: Figure
    comparison: str
    limit: float
    origin: str = ""
    baseline: tuple[str, Workload] | None = None

    @property
    def fewest(self) -> int:
        """Messages that a run needs for this figure to be known."""
        return self.kind.fewest

    def check_load(self, workload: Workload, called: str) -> None:
        """Raises LimitError if the baseline is of a load that cannot be compared with
        ``workload``, which is ``called`` that in the error."""
        if self.baseline is None:
            return
        path, load = self.baseline
        words = loads.incomparable(load, workload)
        if words:
            raise LimitError(loads.refusal(self.text, called, path, words))

    def check(self, result: Result) -> str | None:
        """Why ``result`` breaks the limit; None if it does not. A figure that was not measured
        breaks it too, so that no limit passes unchecked."""
        value = self.kind.read(result)
        if value is None:
            return f"{self.figure} is not known: {self.kind.missing(result)} ({self.text})"
        holds, word = _COMPARE[self.comparison]
        if not holds(value, self.limit):
            return None
        shown, limit = self.kind.show(value), self.kind.show(self.limit)
        if shown == limit and value != self.limit:
            shown, limit = repr(value), repr(self.limit)
        return f"{self.figure} is {shown}, {word} {limit}{self.origin} ({self.text})"


def parse(text: str) -> Threshold:
    """The limit in ``text``: a figure, ``> >= < <= ==``, and a value.

    Figures are ``p99`` or any other percentile, and ``mean sd min max``: of the response time, or
    of another histogram, with ``service. slip. connect. first_reply.`` before the name; also
    ``rate target messages late``; ``errors`` for all errors together, or the name of one kind.
    Times need a unit; ``late`` and errors may be in percent of the messages sent. The value may be
    the file of another result, with a factor: ``1.2*before.json``. It is read at once.

    Raises LimitError that names the fix, and ResultFileError.
    """
    match = _LIMIT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise LimitError(f"fail-if: {text!r} is not a limit; {_instead(text)}")
    name, comparison, value = match.groups()
    figure = _figure(name, in_percent=value.endswith("%"))
    if "*" in value or value.endswith(".json"):
        return _of_baseline(Threshold(text, name, figure, comparison, math.inf), value)
    try:
        return Threshold(text, name, figure, comparison, figure.parse(value))
    except ValueError as error:
        raise LimitError(f"fail-if: {text!r}: {error}") from None


def stopping(text: str) -> Threshold:
    """The limit in ``text``, for a run that ends early when it is broken. Raises as `parse` does,
    and LimitError for one kind of error: only their sum is known while the run goes on."""
    try:
        limit = parse(text)
    except LimitError as error:
        raise LimitError(f"stop-if{str(error).removeprefix('fail-if')}") from None
    if limit.figure in ERRORS:
        raise LimitError(
            f"stop-if: {text!r}: kinds of errors are known at the end; use errors, for all of them"
        )
    return limit


def requirement(text: str) -> Threshold:
    """The limit in ``text``, written as a condition that must hold: ``p99<5ms`` is the limit that
    `parse` reads from ``p99>=5ms``. Raises as `parse` does."""
    try:
        limit = parse(text)
    except LimitError as error:
        raise LimitError(f"find-rate{str(error).removeprefix('fail-if')}") from None
    if limit.comparison not in _OPPOSITE:
        raise LimitError(f"find-rate: {text!r} holds only by chance; write it with < or >")
    return replace(limit, comparison=_OPPOSITE[limit.comparison])


def _of_baseline(threshold: Threshold, value: str) -> Threshold:
    """The limit that is the figure of another run, with a factor."""
    match = _BASELINE.fullmatch(value)
    assert match is not None
    text, figure, path = threshold.text, threshold.kind, match[2]
    try:
        factor = float(match[1] or 1)
    except ValueError:
        factor = math.inf
    if math.isinf(factor):
        raise LimitError(f"fail-if: {text!r}: {match[1]} is not a number")
    if Path(path).is_dir():
        direction = "lower" if "<" in threshold.comparison else "higher"
        raise LimitError(
            f"fail-if: {text!r}: {path} is a directory; name one file in it, or compare results "
            f"by: epollo report {path} RESULT --fail-if '{threshold.figure} {direction}'"
        )
    baseline = files.read(path)
    known = figure.read(baseline)
    if known is None:
        raise LimitError(f"fail-if: {text!r}: {path}: {figure.missing(baseline)}")
    times = f"{factor:g} times the " if match[1] else "the "
    return replace(
        threshold,
        limit=factor * known,
        origin=f", {times}{figure.show(known)} of {path}",
        baseline=(path, baseline.workload),
    )


def _figure(name: str, in_percent: bool) -> Figure:
    histogram, _, which = name.partition(".")
    if histogram in HISTOGRAMS:
        return _of_histogram(name, histogram, which)
    if name in MOMENTS or _PERCENTILE.fullmatch(name):
        return _of_histogram(name, "response", name)
    if name == "rate":
        return Figure(_rate, parse_number, _show_rate)
    if name == "target":
        return Figure(lambda result: result.target, parse_number, _show_rate)
    if name == "messages":
        return Figure(lambda result: result.messages, parse_number, _show_count)
    if name == "late":
        return Figure(_late, _parse_part, _show_part)
    if name == "errors" or name in ERRORS:
        return _of_errors(name, in_percent)
    raise LimitError(f"fail-if: no figure {name!r}; {_advice(name)}")


def _instead(text: object) -> str:
    if isinstance(text, str) and {"higher", "lower"}.intersection(text.lower().split()):
        return f"two results are compared by: epollo report BASELINE RESULT --fail-if {text!r}"
    return "write one such as p99>5ms or errors>0"


def _advice(name: str) -> str:
    close = get_close_matches(name, [*SCALARS, *MOMENTS, *HISTOGRAMS, *ERRORS], 1)
    return f"did you mean {close[0]}?" if close else "use p99, max, mean, rate, errors or another"


def _of_histogram(name: str, histogram: str, which: str) -> Figure:
    match = _PERCENTILE.fullmatch(which)
    percent = float(match[1]) if match else 0.0
    if which not in MOMENTS and not 0 < percent <= 100:
        raise LimitError(f"fail-if: no figure {name!r}; write {histogram}.p99, .max or .mean")

    def read(result: Result) -> float | None:
        recorded = getattr(result, histogram)
        if not recorded.total or (match and not recorded.known(percent)):
            return None
        value = recorded.percentile(percent) if match else getattr(recorded, MOMENTS[which])
        return float(value) / 1e9

    def missing(result: Result) -> str:
        count = getattr(result, histogram).total
        if not count:
            return "the run did not measure it"
        return f"{count:,} values are too few"

    of_messages = histogram in SECOND_HISTOGRAMS and 50 < percent < 100
    fewest = math.ceil(100 / (100 - percent)) if of_messages else 0
    return Figure(read, _parse_time, format_seconds, missing, fewest)


def _of_errors(name: str, in_percent: bool) -> Figure:
    def count(result: Result) -> float:
        return sum(result.errors.values()) if name == "errors" else result.errors.get(name, 0)

    def part(result: Result) -> float | None:
        return count(result) / result.sent if result.sent else None

    if in_percent:
        return Figure(part, _parse_part, _show_part)
    return Figure(count, parse_number, _show_count)


def _rate(result: Result) -> float | None:
    return result.rate if result.elapsed else None


def _late(result: Result) -> float | None:
    return result.late if result.slip.total else None


def _parse_time(text: str) -> float:
    if not text[-1:].isalpha():
        raise ValueError(f"{text!r} has no unit; write {text}ms or another")
    return parse_seconds(text)


def _parse_part(text: str) -> float:
    part = parse_number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if part > 1:  # no run could break this limit
        raise ValueError(f"{text!r} is more than 100 %; write a part, such as 0.1%")
    return part


def _show_rate(value: float) -> str:
    return f"{value:,.6g}/s" if value < 1000 else f"{value:,.0f}/s"


def _show_count(value: float) -> str:
    return f"{value:,.10g}"


def _show_part(value: float) -> str:
    return f"{100 * value:.3g} %"
