"""The pictures of results, one panel each: of one run, or of several runs in the same axes.

Imports matplotlib, which is optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from epollo.bench.compare.letters import letter
from epollo.bench.output.pictures.lines import (
    ROUND,
    SOLID,
    STYLES,
    Dashes,
    Line,
    below,
    dress,
    latencies,
    name_ends,
    numbers,
    over_seconds,
    plot,
    short_number,
    style_of,
)
from epollo.bench.output.wording import histograms
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.bench.search import Search
from epollo.cli.plotting import QUIET, RED

_PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0))
_POINTS = 240  # of a percentile spectrum: more would not be visible
_GROUPS = 16  # of the seconds of a ramp
_SHORTEST = 0.1  # of the longest second; the rate of a shorter one means nothing
_REACHED = 0.99  # of a target; a lower rate did not reach it


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. ``draw`` draws it on axes; ``title`` says what it shows, ``note`` how to read
    it."""

    name: str
    title: str
    note: str
    draw: Callable[[Axes], None]


def panels(results: Sequence[Result]) -> list[Panel]:
    """All the pictures that can be made of these results."""
    several = len(results) > 1
    return list(_of_several(results) if several else _of_one(results[0]))


def of_search(search: Search) -> list[Panel]:
    """Percentiles at the rate found, and everything else of all runs, one after the other.
    Percentiles over runs at different rates would mean nothing."""
    found = [panel for panel in panels([search.answer()]) if panel.name == "spectrum"]
    return found + [panel for panel in panels([search.as_one()]) if panel.name != "spectrum"]


def _of_one(result: Result) -> Iterator[Panel]:
    if result.response.total:
        lines = [
            _spectrum(name, histogram, STYLES[number])
            for number, (name, histogram) in enumerate(histograms(result))
        ]
        yield Panel("spectrum", "Latency by percentile", _spectrum_note(result), _spectra(lines))
    if not result.seconds:
        return
    yield Panel("rate", "Messages answered a second", "", _rates([result]))
    if result.response.total:
        percentiles = [
            _over_time(name, result, percent, STYLES[number])
            for number, (name, percent) in enumerate(_PERCENTILES)
        ]
        yield Panel("latency", "Latency over time", "", _times(percentiles, _end([result])))
    yield from _trouble([result])
    if ramped := groups(result):
        lines = [
            _against(name, ramped, percent, STYLES[number])
            for number, (name, percent) in enumerate(_PERCENTILES)
        ]
        yield Panel(
            "ramp", "Latency against rate", _ramp_note(ramped), _against_rate(lines, [ramped])
        )


def _of_several(results: Sequence[Result]) -> Iterator[Panel]:
    measured = [(n, result) for n, result in enumerate(results) if result.response.total]
    if measured:
        lines = [_spectrum(letter(n), r.response, style_of(n)) for n, r in measured]
        yield Panel("spectrum", "Latency by percentile", "", _spectra(lines))
    if any(result.seconds for result in results):
        yield Panel("rate", "Messages answered a second", "", _rates(results))
    for name, percent in (("p50", 50.0), ("p99", 99.0)):
        over = [_over_time(letter(n), r, percent, style_of(n)) for n, r in measured if r.seconds]
        if over:
            yield Panel(name, f"{name} of the latency over time", "", _times(over, _end(results)))
    yield from _trouble(results)
    ramped = [(n, groups(result)) for n, result in enumerate(results)]
    against = [_against(letter(n), found, 99.0, style_of(n)) for n, found in ramped if found]
    if against:
        found = [groups for _, groups in ramped if groups]
        yield Panel("ramp", "p99 of the latency against rate", "", _against_rate(against, found))


# The percentile spectrum


def _spectrum_note(result: Result) -> str:
    if not result.workload.open_loop:
        return ""
    return "Response runs from the time a message was due, service from its send."


def _spectrum(name: str, histogram: Histogram, style: tuple[str, Dashes]) -> Line:
    """A histogram's percentiles at equal steps of log 1 / (1 - q), up to its last message."""
    last = math.log10(max(2, histogram.total))
    x = [10 ** (last * step / _POINTS) for step in range(_POINTS + 1)]
    values = histogram.percentiles(100 * (1 - 1 / each) for each in x)
    return Line(name, x, [value / 1e9 for value in [*values[:-1], histogram.maximum]], *style)


def _spectra(lines: Sequence[Line]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        dress(axes)
        plot(axes, lines)
        axes.set_xscale("log")
        last = max(line.x[-1] for line in lines)
        axes.set_xlim(1, max(last, 10))
        axes.xaxis.set_major_locator(FixedLocator(percentile_ticks(last)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percentile_of(x)))
        latencies(axes, lines, floor=min(map(_floor, lines)))
        below(axes, "percentile")
        name_ends(axes, lines)

    return draw


def _floor(line: Line) -> float:
    """A tenth of the median: otherwise the smallest values, of the slip for example, would take
    half the picture."""
    return next(y for x, y in zip(line.x, line.y, strict=True) if x >= 2) / 10


def percentile_ticks(last: float) -> list[float]:
    """The labelled places on an axis that ends at ``last``: 0, 50 and nines, as many as fit."""
    decades = max(1, math.floor(math.log10(last) + 1e-9))
    nines = range(1, decades + 1, 1 if decades < 5 else 2)
    return [1.0, *([2.0] if decades < 6 else []), *(10.0**n for n in nines)]


def percentile_of(x: float) -> str:
    """The percentile q at ``x`` = 1 / (1 - q): 0, 50, 90, 99, 99.9."""
    digits = max(0, round(math.log10(x)) - 2)
    return f"{100 * (1 - 1 / x):.{digits}f}"


# Over time


def _over_time(name: str, result: Result, percent: float, style: tuple[str, Dashes]) -> Line:
    """A percentile of each second, in its middle."""
    seconds = _whole(result)
    x = [second.start + second.seconds / 2 for second in seconds]
    return Line(name, x, [_percentile(second, percent) for second in seconds], *style)


def _whole(result: Result) -> list[Second]:
    """The seconds that are long enough for a rate and percentiles."""
    longest = max((second.seconds for second in result.seconds), default=0.0)
    return [second for second in result.seconds if second.seconds >= _SHORTEST * longest > 0]


def _percentile(second: Second, percent: float) -> float:
    return _known(second.response, percent)


def _known(times: Histogram, percent: float) -> float:
    """A percentile in seconds; nan if it is beyond the sample."""
    return times.percentile(percent) / 1e9 if times.known(percent) else math.nan


def _times(lines: Sequence[Line], end: float) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        dress(axes)
        plot(axes, lines)
        latencies(axes, lines)
        over_seconds(axes, end)
        name_ends(axes, lines)

    return draw


def _rates(results: Sequence[Result]) -> Callable[[Axes], None]:
    lines, targets = _rate_lines(results), _target_lines(results)

    def draw(axes: Axes) -> None:
        dress(axes)
        for line in targets:
            axes.plot(line.x, line.y, color=line.colour, linestyle=line.dashes, linewidth=1.3)
        plot(axes, lines)
        numbers(axes)
        over_seconds(axes, _end(results))
        name_ends(axes, [*lines, *targets])

    return draw


def _rate_lines(results: Sequence[Result]) -> list[Line]:
    if len(results) == 1:
        return [_steps("rate", _whole(results[0]), _rate_of, STYLES[0])]
    return [_steps(letter(n), _whole(r), _rate_of, style_of(n)) for n, r in enumerate(results)]


def _target_lines(results: Sequence[Result]) -> list[Line]:
    """The targets; one that several runs share is drawn once."""
    found: dict[tuple[tuple[float, float | None], ...], Line] = {}
    for result in results:
        if any(second.target for second in result.seconds):
            key = tuple((second.start, second.target) for second in result.seconds)
            found[key] = _steps("target", _whole(result), _target_of, (QUIET, (0, (2, 2))))
    return list(found.values())


def _end(results: Sequence[Result]) -> float:
    """Where the longest window ends, in seconds."""
    return max(s.start + s.seconds for result in results for s in result.seconds)


def _rate_of(second: Second) -> float:
    return second.rate


def _target_of(second: Second) -> float:
    return second.target or math.nan


def _trouble(results: Sequence[Result]) -> Iterator[Panel]:
    """Panels that a good run does not have: errors, and a queue."""
    if any(second.errors for result in results for second in result.seconds):
        yield Panel("errors", "Errors in each second", "", _counts(results, "errors", _errors_of))
    if any(
        second.outstanding
        for result in results
        if result.workload.open_loop or result.errors
        for second in result.seconds
    ):
        yield Panel(
            "outstanding",
            "Outstanding at the end of each second",
            "",
            _counts(results, "waiting", _outstanding_of),
        )


def _errors_of(second: Second) -> float:
    return float(second.errors)


def _outstanding_of(second: Second) -> float:
    return float(second.outstanding)


def _counts(
    results: Sequence[Result], name: str, figure: Callable[[Second], float]
) -> Callable[[Axes], None]:
    if len(results) == 1:
        lines = [_steps(name, results[0].seconds, figure, (RED, SOLID))]
    else:
        lines = [_steps(letter(n), r.seconds, figure, style_of(n)) for n, r in enumerate(results)]

    def draw(axes: Axes) -> None:
        dress(axes)
        for line in lines if len(lines) == 1 else ():
            axes.fill_between(line.x, line.y, color=line.colour, alpha=0.18, linewidth=0)
        plot(axes, lines)
        numbers(axes)
        over_seconds(axes, _end(results))
        name_ends(axes, lines)

    return draw


def _steps(
    name: str,
    seconds: Sequence[Second],
    figure: Callable[[Second], float],
    style: tuple[str, Dashes],
) -> Line:
    """A figure of each second, as steps."""
    x = [edge for second in seconds for edge in (second.start, second.start + second.seconds)]
    y = [value for second in seconds for value in [figure(second)] * 2]
    return Line(name, x, y, *style)


# Latency against rate


@dataclass(frozen=True, slots=True)
class Group:
    """Seconds that had about the same target. Rates are messages a second, on average."""

    target: float
    rate: float
    response: Histogram

    @property
    def reached(self) -> bool:
        """Was the target reached?"""
        return self.rate >= _REACHED * self.target


def groups(result: Result) -> list[Group]:
    """The seconds grouped by target, in rising order: one group for each step, up to ``_GROUPS``
    for a ramp. Empty if there is only one target."""
    seconds = [second for second in result.seconds if second.target and second.response.total]
    targets = [float(f"{second.target:.6g}") for second in seconds]
    if not targets or max(targets) <= min(targets):
        return []
    if len(set(targets)) <= _GROUPS:
        width = 0.0
    else:
        width = (max(targets) - min(targets)) / _GROUPS * (1 + 1e-9)
    found: dict[float, list[Second]] = {}
    for second, target in zip(seconds, targets, strict=True):
        key = (target - min(targets)) // width if width else target
        found.setdefault(key, []).append(second)
    return [_group(found[key]) for key in sorted(found)]


def _group(seconds: Sequence[Second]) -> Group:
    length = sum(second.seconds for second in seconds)
    return Group(
        sum((second.target or 0.0) * second.seconds for second in seconds) / length,
        sum(second.messages for second in seconds) / length,
        Histogram.sum(second.response for second in seconds),
    )


def _against(name: str, found: Sequence[Group], percent: float, style: tuple[str, Dashes]) -> Line:
    x = [group.target for group in found]
    return Line(name, x, [_known(group.response, percent) for group in found], *style)


def _ramp_note(found: Sequence[Group]) -> str:
    if all(group.reached for group in found):
        return "The rate is the target, which was reached throughout."
    return "The rate is the target; a point is hollow if less than 99 % of it was answered."


def _against_rate(
    lines: Sequence[Line], ramped: Sequence[Sequence[Group]]
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        dress(axes)
        for number, line in enumerate(lines):
            plot(axes, [line], marked=True)
            short = [group.reached for group in ramped[number % len(ramped)]]
            missed = [(x, y) for x, y, ok in zip(line.x, line.y, short, strict=True) if not ok]
            axes.plot(
                [x for x, _ in missed], [y for _, y in missed], linestyle="none", marker="o",
                markersize=4.5, color=line.colour, markerfacecolor="white", zorder=3,
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_number(x)))
        axes.margins(x=0.03)
        latencies(axes, lines)
        below(axes, "messages a second")
        name_ends(axes, lines)

    return draw
