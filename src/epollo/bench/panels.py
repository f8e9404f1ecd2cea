"""The pictures of results, a panel each: what is drawn of one run, or of several upon each other.

Imports matplotlib, which is optional. Every line is told by its dashes and the name at its end, so
that neither colour nor a legend is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from epollo.bench.histogram import Histogram
from epollo.bench.result import Result, Second
from epollo.bench.tables import histograms
from epollo.bench.wording import letter
from epollo.picture import BLUE, FAINT, GREEN, INK, ORANGE, PINK, QUIET, RED, quiet
from epollo.units import format_seconds

Dashes = tuple[int, tuple[float, ...]] | str

_SOLID: Dashes = "solid"
_DASHED: Dashes = (0, (4, 1.5))
_DOTTED: Dashes = (0, (1, 1.3))
_MIXED: Dashes = (0, (6, 1.5, 1, 1.5))
_LONG: Dashes = (0, (9, 2))

# How the lines of one panel are told apart, in their order; of several runs, one each.
STYLES: Sequence[tuple[str, Dashes]] = (
    (BLUE, _SOLID),
    (ORANGE, _DASHED),
    (GREEN, _MIXED),
    (RED, _DOTTED),
    (PINK, _LONG),
)
_PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0))
_POINTS = 240  # of a percentile spectrum: more are not seen
_GROUPS = 16  # of the seconds of a ramp
_SHORT = 0.99  # of a target; a rate below that did not reach it
_APART = 0.085  # of the axes' height: no two names are nearer
_DECADE = 10.0
_ROUND = (1, 2, 2.5, 5, 10)  # what ticks are multiples of
_SWATCH = (0.08, 0.38, 0.44)  # inches right of the axes: a piece of the line, and its name


@dataclass(frozen=True, slots=True)
class Line:
    """A line, by its name; points that are not there are nan."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashes: Dashes


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. ``draw`` puts it on axes; ``title`` says what it shows, ``note`` how to read
    it."""

    name: str
    title: str
    note: str
    draw: Callable[[Axes], None]


def panels(results: Sequence[Result]) -> list[Panel]:
    """All the pictures that can be made of what was measured."""
    several = len(results) > 1
    return list(_of_several(results) if several else _of_one(results[0]))


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
        lines = [_spectrum(letter(n), r.response, _style(n)) for n, r in measured]
        yield Panel("spectrum", "Latency by percentile", "", _spectra(lines))
    if any(result.seconds for result in results):
        yield Panel("rate", "Messages answered a second", "", _rates(results))
    for name, percent in (("p50", 50.0), ("p99", 99.0)):
        over = [_over_time(letter(n), r, percent, _style(n)) for n, r in measured if r.seconds]
        if over:
            yield Panel(name, f"{name} of the latency over time", "", _times(over, _end(results)))
    yield from _trouble(results)
    ramped = [(n, groups(result)) for n, result in enumerate(results)]
    against = [_against(letter(n), found, 99.0, _style(n)) for n, found in ramped if found]
    if against:
        found = [groups for _, groups in ramped if groups]
        yield Panel("ramp", "p99 of the latency against rate", "", _against_rate(against, found))


def _style(number: int) -> tuple[str, Dashes]:
    """A colour and dashes; no two of 25 runs have both alike."""
    colour, _ = STYLES[number % len(STYLES)]
    _, dashes = STYLES[(number + number // len(STYLES)) % len(STYLES)]
    return colour, dashes


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
        _dress(axes)
        _plot(axes, lines)
        axes.set_xscale("log")
        last = max(line.x[-1] for line in lines)
        nines = range(1, max(1, math.floor(math.log10(last) + 1e-9)) + 1)
        ticks = [1.0, 2.0, *(10.0**n for n in nines)]
        axes.set_xlim(1, max(last, 10))
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: percentile_of(x)))
        _latencies(axes, lines)
        _below(axes, "percentile")
        _name(axes, lines)

    return draw


def percentile_of(x: float) -> str:
    """The percentile that stands at 1 / (1 - q): 0, 50, 90, 99, 99.9."""
    digits = max(0, round(math.log10(x)) - 2)
    return f"{100 * (1 - 1 / x):.{digits}f}"


# Over time


def _over_time(name: str, result: Result, percent: float, style: tuple[str, Dashes]) -> Line:
    """A percentile of each second, in its middle."""
    x = [second.start + second.seconds / 2 for second in result.seconds]
    return Line(name, x, [_percentile(second, percent) for second in result.seconds], *style)


def _percentile(second: Second, percent: float) -> float:
    if not second.response.total:
        return math.nan
    return second.response.percentile(percent) / 1e9


def _times(lines: Sequence[Line], end: float) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        _dress(axes)
        _plot(axes, lines)
        _latencies(axes, lines)
        _seconds(axes, end)
        _name(axes, lines)

    return draw


def _rates(results: Sequence[Result]) -> Callable[[Axes], None]:
    lines, targets = _rate_lines(results), _target_lines(results)

    def draw(axes: Axes) -> None:
        _dress(axes)
        for line in targets:
            axes.plot(line.x, line.y, color=line.colour, linestyle=line.dashes, linewidth=1.3)
        _plot(axes, lines)
        _numbers(axes)
        _seconds(axes, _end(results))
        _name(axes, [*lines, *targets])

    return draw


def _rate_lines(results: Sequence[Result]) -> list[Line]:
    if len(results) == 1:
        return [_steps("rate", results[0].seconds, _rate_of, STYLES[0])]
    return [_steps(letter(n), r.seconds, _rate_of, _style(n)) for n, r in enumerate(results)]


def _target_lines(results: Sequence[Result]) -> list[Line]:
    """The targets, each once, however many runs had it."""
    found: dict[tuple[tuple[float, float | None], ...], Line] = {}
    for result in results:
        if any(second.target for second in result.seconds):
            key = tuple((second.start, second.target) for second in result.seconds)
            found[key] = _steps("target", result.seconds, _target_of, (QUIET, (0, (2, 2))))
    return list(found.values())


def _end(results: Sequence[Result]) -> float:
    """Where the longest window ends, in seconds."""
    return max(s.start + s.seconds for result in results for s in result.seconds)


def _rate_of(second: Second) -> float:
    return second.rate


def _target_of(second: Second) -> float:
    return second.target or math.nan


def _trouble(results: Sequence[Result]) -> Iterator[Panel]:
    """What is not there in a good run: errors; and what a rate has piled up."""
    if any(second.errors for result in results for second in result.seconds):
        yield Panel("errors", "Errors a second", "", _counts(results, "errors", _errors_of))
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
    return second.errors / second.seconds if second.seconds else 0.0


def _outstanding_of(second: Second) -> float:
    return float(second.outstanding)


def _counts(
    results: Sequence[Result], name: str, figure: Callable[[Second], float]
) -> Callable[[Axes], None]:
    if len(results) == 1:
        lines = [_steps(name, results[0].seconds, figure, (RED, _SOLID))]
    else:
        lines = [_steps(letter(n), r.seconds, figure, _style(n)) for n, r in enumerate(results)]

    def draw(axes: Axes) -> None:
        _dress(axes)
        for line in lines if len(lines) == 1 else ():
            axes.fill_between(line.x, line.y, color=line.colour, alpha=0.18, linewidth=0)
        _plot(axes, lines)
        _numbers(axes)
        _seconds(axes, _end(results))
        _name(axes, lines)

    return draw


def _steps(
    name: str,
    seconds: Sequence[Second],
    figure: Callable[[Second], float],
    style: tuple[str, Dashes],
) -> Line:
    """A figure of whole seconds, level over each of them."""
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
        """Was the target kept?"""
        return self.rate >= _SHORT * self.target


def groups(result: Result) -> list[Group]:
    """The seconds by their targets, in rising order: each step by itself, of a ramp as many
    stretches as can be told apart. Empty where there are not two targets."""
    seconds = [second for second in result.seconds if second.target and second.response.total]
    targets = [second.target or 0.0 for second in seconds]
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
    return Line(name, x, [group.response.percentile(percent) / 1e9 for group in found], *style)


def _ramp_note(found: Sequence[Group]) -> str:
    if all(group.reached for group in found):
        return "The rate is the target, which was reached throughout."
    return "The rate is the target; hollow where less than 99 % of it was answered."


def _against_rate(
    lines: Sequence[Line], ramped: Sequence[Sequence[Group]]
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        _dress(axes)
        for number, line in enumerate(lines):
            _plot(axes, [line], marked=True)
            short = [group.reached for group in ramped[number % len(ramped)]]
            missed = [(x, y) for x, y, ok in zip(line.x, line.y, short, strict=True) if not ok]
            axes.plot(
                [x for x, _ in missed], [y for _, y in missed], linestyle="none", marker="o",
                markersize=4.5, color=line.colour, markerfacecolor="white", zorder=3,
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_ROUND))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_number(x)))
        axes.margins(x=0.03)
        _latencies(axes, lines)
        _below(axes, "messages a second")
        _name(axes, lines)

    return draw


# What all panels have


def _dress(axes: Axes) -> None:
    quiet(axes)
    axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0)


def _plot(axes: Axes, lines: Sequence[Line], marked: bool = False) -> None:
    for line in lines:
        marker = "o" if marked or len(line.x) == 1 else ""
        axes.plot(
            line.x, line.y, color=line.colour, linestyle=line.dashes, linewidth=1.8,
            marker=marker, markersize=3.5,
        )  # fmt: skip


def _latencies(axes: Axes, lines: Sequence[Line]) -> None:
    """The y axis of latencies: from 0, or logarithmic where they span a decade or more."""
    values = [[y for y in line.y if y > 0] for line in lines]
    known = [sorted(line) for line in values if line]
    highest = max((line[-1] for line in known), default=1.0)
    # The least of all percentiles of a fast thing, such as the slip, would take half the picture.
    lowest = min((max(line[0], line[len(line) // 2] / _DECADE) for line in known), default=0.0)
    if not lowest or highest / lowest < _DECADE:
        axes.set_ylim(0, highest * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND))
    else:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.3, highest * 1.3)
        subs = (1.0,) if highest / lowest > _DECADE**2.5 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_seconds(y) if y else "0"))


def _numbers(axes: Axes) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * 1.04 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short_number(y)))


def _seconds(axes: Axes, end: float) -> None:
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=_ROUND, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    _below(axes, "seconds")


def _below(axes: Axes, text: str) -> None:
    axes.set_xlabel(text, color=QUIET, size=9.5)


def _name(axes: Axes, lines: Sequence[Line]) -> None:
    """Each line's name to the right of its end, with a piece of it, none upon another."""
    axes.get_ylim()  # the limits are final from here on
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in lines:
        end = next((y for y in reversed(line.y) if not math.isnan(y)), None)
        if end is not None:
            ends.append((min(max(float(to_axes.transform((1, end))[1]), 0.0), 1.0), line))
    figure = axes.get_figure()
    assert figure is not None
    inches = figure.dpi_scale_trans + ScaledTranslation(1, 0, axes.transAxes)
    beside = blended_transform_factory(inches, axes.transAxes)
    start, end_, text = _SWATCH
    for height, line in spread(sorted(ends, key=lambda end: end[0])):
        axes.plot(
            [start, end_], [height, height], color=line.colour, linestyle=line.dashes,
            linewidth=1.8, transform=beside, clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip
        axes.text(text, height, line.name, transform=beside, va="center", color=INK, size=9.5)


def spread(ends: Sequence[tuple[float, Line]]) -> list[tuple[float, Line]]:
    """Heights in rising order, moved so far that none is nearer than can be read."""
    places = [height for height, _ in ends]
    for n in range(1, len(places)):
        places[n] = max(places[n], places[n - 1] + _APART)
    top = max(1.0, (len(places) - 1) * _APART)
    for n in reversed(range(len(places))):
        places[n] = min(places[n], top - (len(places) - 1 - n) * _APART)
    return list(zip(places, (line for _, line in ends), strict=True))


def short_number(number: float) -> str:
    """Three digits: 1.76M, 990k, 56."""
    for scale, unit in ((1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"
