"""Conditions on the difference between runs: ``p99 higher``, ``rate lower by 5%``.

A condition is judged by the whole 95 % interval of a ratio, not by the ratio. So of 40 pairs of
runs that do not differ, one meets a condition by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from epollo.bench.compare.pieces import SHORTEST
from epollo.bench.compare.ratios import (
    FEW,
    FIGURES,
    HIGHER,
    LOWER,
    SHORT,
    SINGLE,
    Change,
    Comparison,
    Row,
    name_of,
)
from epollo.bench.compare.text import figure, interval
from epollo.errors import LimitError
from epollo.units import parse_number

_CONDITION = re.compile(rf"\s*(\S+)\s+({HIGHER}|{LOWER})(?:\s+by\s+(\S+?)\s*%)?\s*")
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
_OTHER_NAMES = {
    "throughput": "rate",
    "messages": "rate",
    "average": "mean",
    "median": "p50",
    "latency": "p99",
    "p100": "max",
    "maximum": "max",
}
_FIXES = {  # added to why a figure is not compared
    SHORT: f"; run at least {SHORTEST}s, or compare directories of repeats",
    FEW: "; run longer, or use a lower percentile",
    SINGLE: "; compare directories of repeats",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A run fails if the whole interval of its ratio to the first run is beyond a margin.

    Attributes:
        text: the condition as the user wrote it.
        figure: the name of a row of a comparison.
        percent: of the percentile, if it is one.
        direction: ``HIGHER`` or ``LOWER``.
        edge: the ratio beyond which the interval must lie: 1, or 1.05 for ``higher by 5%``.
    """

    text: str
    figure: str
    percent: float | None
    direction: str
    edge: float

    def broken(self, comparison: Comparison, baseline: str) -> Iterator[tuple[int, str]]:
        """The sides that break it, as their places, and why; ``baseline`` is the name of the first.
        A figure that cannot be compared breaks it too, so that no condition passes unchecked."""
        row = next(row for row in comparison.rows if row.name == self.figure)
        for side, change in enumerate(row.changes, 1):
            words = self._words(row, side, change, baseline)
            if words:
                yield side, f"{words} ({self.text})"

    def _words(self, row: Row, side: int, change: Change, baseline: str) -> str:
        """Why that side breaks the condition; empty if it does not."""
        if change.why_not:
            fix = _FIXES.get(change.verdict, "")
            return f"{row.name} cannot be compared: {change.why_not}{fix}"
        if not self._is_beyond(change):
            return ""
        before, after = (figure(row.values[place], row.unit) for place in (0, side))
        ratio = "" if change.ratio is None else f"{change.ratio:.3f} times the "
        beyond = "" if self.edge == 1 else f", all of it beyond {self.edge:g}"
        return (
            f"{row.name} is {after}, {self.direction}: {ratio}{before} of {baseline}, "
            f"interval {interval(change)}{beyond}"
        )

    def _is_beyond(self, change: Change) -> bool:
        """Is the whole interval beyond the edge? Without an interval, it is not."""
        if change.low is None or change.high is None:
            return False
        return change.low > self.edge if self.direction == HIGHER else change.high < self.edge


def is_condition(text: str) -> bool:
    """Is ``text`` meant as a condition, and not as a limit such as ``p99>5ms``?"""
    return bool({HIGHER, LOWER}.intersection(text.lower().split()))


def parse(text: str) -> Condition:
    """The condition in ``text``: ``FIGURE higher`` or ``FIGURE lower``, and ``by N%`` if a smaller
    difference is allowed. Figures are ``rate mean max errors``, and ``p99`` or any other percentile
    of the response time. Raises LimitError that names the fix."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise LimitError(
            f"fail-if: {text!r} is not a condition; write one such as 'p99 higher' or "
            "'p99 higher by 5%'"
        )
    name, direction, margin = match.groups()
    percent = _percent(name)
    if percent is None and name not in FIGURES:
        raise LimitError(f"fail-if: {text!r}: {name!r} is not compared; {_advice(name)}")
    edge = _edge(text, direction, margin) if margin else 1.0
    known = name if percent is None else name_of(percent)
    return Condition(text, known, percent, direction, edge)


def _percent(name: str) -> float | None:
    """The percent of a percentile; None if it is another figure."""
    match = _PERCENTILE.fullmatch(name)
    if match is None or not 0 < float(match[1]) < 100:
        return None
    return float(match[1])


def _advice(name: str) -> str:
    close = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else get_close_matches(name, FIGURES, 1)
    return f"did you mean {close[0]}?" if close else "use p99, mean, max, rate or errors"


def _edge(text: str, direction: str, margin: str) -> float:
    try:
        part = parse_number(margin) / 100
    except ValueError as error:
        raise LimitError(f"fail-if: {text!r}: {error}") from None
    if direction == LOWER and part >= 1:
        raise LimitError(f"fail-if: {text!r}: nothing is lower by 100 %; write less")
    return 1 + part if direction == HIGHER else 1 - part
