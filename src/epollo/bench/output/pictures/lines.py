"""Lines on axes, and the style that the axes of all panels share.

Imports matplotlib, which is optional. Dashes and a name at its end identify each line, so neither
colour nor a legend is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Affine2DBase, ScaledTranslation, blended_transform_factory

from epollo.cli.plotting import BLUE, FAINT, GREEN, INK, ORANGE, PINK, QUIET, RED, quiet
from epollo.units import format_seconds

Dashes = tuple[int, tuple[float, ...]] | str

SOLID: Dashes = "solid"
_DASHED: Dashes = (0, (4, 1.5))
_DOTTED: Dashes = (0, (1, 1.3))
_MIXED: Dashes = (0, (6, 1.5, 1, 1.5))
_LONG: Dashes = (0, (9, 2))

# The styles of the lines of one panel, in their order; with several runs, one for each run.
STYLES: Sequence[tuple[str, Dashes]] = (
    (BLUE, SOLID),
    (ORANGE, _DASHED),
    (GREEN, _MIXED),
    (RED, _DOTTED),
    (PINK, _LONG),
)
_APART = 0.085  # of the axes' height: the least distance between two names
_DECADE = 10.0
_FEW = 4  # seconds; a shorter axis has ticks at parts of a second
ROUND = (1, 2, 2.5, 5, 10)  # ticks are multiples of these
_SWATCH = (0.08, 0.38, 0.44)  # inches right of the axes: a piece of the line, and its name


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its name; missing points are nan."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashes: Dashes


def style_of(number: int) -> tuple[str, Dashes]:
    """A colour and dashes; unique for up to 25 runs."""
    colour, _ = STYLES[number % len(STYLES)]
    _, dashes = STYLES[(number + number // len(STYLES)) % len(STYLES)]
    return colour, dashes


def dress(axes: Axes) -> None:
    """Prepare axes; to be called before anything is drawn on them."""
    quiet(axes)
    axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.margins(x=0)


def plot(axes: Axes, lines: Sequence[Line], marked: bool = False) -> None:
    """Draw lines; a single point has a marker, or it would be invisible."""
    for line in lines:
        marker = "o" if marked or len(line.x) == 1 else ""
        axes.plot(
            line.x, line.y, color=line.colour, linestyle=line.dashes, linewidth=1.8,
            marker=marker, markersize=3.5,
        )  # fmt: skip


def latencies(axes: Axes, lines: Sequence[Line], floor: float = 0.0) -> None:
    """The y axis of latencies: from 0, or logarithmic if they span a decade or more, and then not
    below ``floor``."""
    values = [y for line in lines for y in line.y if y > 0]
    highest, lowest = max(values, default=1.0), max(floor, min(values, default=0.0))
    if not lowest or highest / lowest < _DECADE:
        axes.set_ylim(0, highest * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    else:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.3, highest * 1.3)
        subs = (1.0,) if highest / lowest > _DECADE**2.5 else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_seconds(y) if y else "0"))


def numbers(axes: Axes) -> None:
    """The y axis of counts and rates: from 0."""
    axes.set_ylim(0, axes.get_ylim()[1] * 1.04 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short_number(y)))


def over_seconds(axes: Axes, end: float) -> None:
    """The x axis of time: from 0 to ``end`` seconds."""
    axes.set_xlim(0, end)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND, integer=end > _FEW))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.12g}"))
    below(axes, "seconds")


def below(axes: Axes, text: str) -> None:
    """Set the label of the x axis."""
    axes.set_xlabel(text, color=QUIET, size=9.5)


def name_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each line's name to the right of its end, with a sample of it; names do not overlap."""
    figure = axes.get_figure()
    assert figure is not None
    corner = cast("Affine2DBase", axes.transAxes)
    inches = figure.dpi_scale_trans + ScaledTranslation(1, 0, corner)
    margin = blended_transform_factory(inches, axes.transAxes)
    start, end, text = _SWATCH
    for height, line in spread(_ends(axes, lines)):
        axes.plot(
            [start, end], [height, height], color=line.colour, linestyle=line.dashes,
            linewidth=1.8, transform=margin, clip_on=False, scalex=False, scaley=False,
        )  # fmt: skip
        axes.text(text, height, line.name, transform=margin, va="center", color=INK, size=9.5)


def _ends(axes: Axes, lines: Sequence[Line]) -> list[tuple[float, Line]]:
    """The heights at which lines end, as parts of the axes' height, in rising order."""
    axes.get_ylim()  # makes the limits final
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in lines:
        last = next((y for y in reversed(line.y) if not math.isnan(y)), None)
        if last is not None:
            height = float(to_axes.transform((1, last))[1])
            ends.append((min(max(height, 0.0), 1.0), line))
    return sorted(ends, key=lambda end: end[0])


def spread(ends: Sequence[tuple[float, Line]]) -> list[tuple[float, Line]]:
    """Move heights, given in rising order, apart so that names can be read."""
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
