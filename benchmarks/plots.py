"""The pictures: a line for each server, with its spread and its name at its end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks import dark
from benchmarks.parts import idle, sweeps
from benchmarks.parts.sweeps import Sweep
from benchmarks.plan import Plan
from benchmarks.samples import Figure, Sample
from benchmarks.servers import (
    ASYNCIO_PROTOCOL,
    ASYNCIO_STREAMS,
    LIMIT,
    NATIVE,
    PYTHON,
    UVLOOP_PROTOCOL,
    UVLOOP_STREAMS,
    Server,
)
from epollo.cli.plotting import BLUE, FAINT, GREEN, INK, ORANGE, QUIET, RED, new_figure, quiet, save
from epollo.lab.machine import this_machine

HEIGHT = 5.0  # inches
APART = 0.055  # of the axes' height: no two names are nearer
COLOURS = {  # in HSL, none is lighter than half, as dark copies of these are to be light
    LIMIT: INK,
    NATIVE: GREEN,
    PYTHON: ORANGE,
    UVLOOP_PROTOCOL: BLUE,
    UVLOOP_STREAMS: "#6A2C91",
    ASYNCIO_PROTOCOL: "#C2185B",
    ASYNCIO_STREAMS: RED,
}
THINGS = {
    "connections": "connections",
    "depth": "messages outstanding on each connection",
    "size": "size of a message",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One server's figures along the x axis."""

    server: Server
    places: list[int]
    figures: list[Figure]


def draw(directory: Path, plan: Plan, samples: Sequence[Sample]) -> list[Path]:
    """Draw what was measured into the directory, for light and dark pages; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in pictures(plan, samples):
        path = directory / f"benchmark-{name}.png"
        save(picture, str(path))
        paths += [path, dark.copy(path)]
    return paths


def pictures(plan: Plan, samples: Sequence[Sample]) -> Iterator[tuple[str, Picture]]:
    """Yield the pictures of the parts that were measured, with their names."""
    if "sweeps" in plan.parts:
        for sweep in sweeps.sweeps(plan):
            yield sweep.name, throughput(plan, sweep, samples)
    if "idle" in plan.parts:
        yield "memory", memory(plan, samples)


def throughput(plan: Plan, sweep: Sweep, samples: Sequence[Sample]) -> Picture:
    """Draw the rates of one sweep, log-log."""
    picture, axes = blank(
        f"Messages a second, by {THINGS[sweep.name]}", f"Framed echo, closed loop, {sweep.others}"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sweep.stops, [sweep.label(stop) for stop in sweep.stops])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short(y)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(THINGS[sweep.name], color=QUIET, size=10.5)
    axes.set_ylabel("messages a second (median, spread)", color=QUIET, size=10.5)
    lines = [
        line(server, sweep.stops, [sweep.rate(server, n).figure(samples) for n in sweep.stops])
        for server in sweeps.SERVERS
        if server in plan.servers
    ]
    plot(axes, lines)
    name(axes, lines, short)
    return picture


def memory(plan: Plan, samples: Sequence[Sample]) -> Picture:
    """Draw the bytes that idle connections take, against their number."""
    picture, axes = blank(
        "Memory of idle connections", "Resident memory beyond that of the server without them"
    )
    counts = plan.scale.idle
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.set_xlabel("idle connections", color=QUIET, size=10.5)
    axes.set_ylabel("MiB (median, spread)", color=QUIET, size=10.5)
    lines = [
        line(server, counts, [total(server, n, samples) for n in counts])
        for server in idle.SERVERS
        if server in plan.servers
    ]
    plot(axes, lines)
    axes.set_ylim(bottom=0)
    name(axes, lines, lambda value: f"{value * (1 << 20) / counts[-1]:,.0f} B each")
    return picture


def total(server: Server, count: int, samples: Sequence[Sample]) -> Figure | None:
    """Return the MiB that so many connections take."""
    each = idle.per_connection(server, count).figure(samples)
    if each is None:
        return None
    scale = count / (1 << 20)
    return Figure(each.median * scale, each.lowest * scale, each.highest * scale)


def blank(title: str, subtitle: str) -> tuple[Picture, Axes]:
    """Return a picture with empty axes, and room for the names to the right."""
    picture = new_figure(HEIGHT, title, subtitle, str(this_machine()))
    axes = picture.add_axes((0.1, 0.145, 0.6, 0.68))
    quiet(axes)
    axes.grid(visible=True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    return picture, axes


def line(server: Server, places: Sequence[int], figures: Sequence[Figure | None]) -> Line:
    """Return a server's line, through the places where there is a figure."""
    known = [(place, f) for place, f in zip(places, figures, strict=True) if f is not None]
    return Line(server, [place for place, _ in known], [f for _, f in known])


def plot(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw the lines."""
    for each in lines:
        colour = COLOURS[each.server]
        lower, upper = [f.lowest for f in each.figures], [f.highest for f in each.figures]
        axes.fill_between(each.places, lower, upper, color=colour, alpha=0.18, linewidth=0)
        medians = [f.median for f in each.figures]
        axes.plot(each.places, medians, color=colour, linewidth=2.2, marker="o", markersize=4.5)


def name(axes: Axes, lines: Sequence[Line], form: Callable[[float], str]) -> None:
    """Write each line's name and last figure to the right of its end, none upon another."""
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [
        (to_axes.transform((e.places[-1], e.figures[-1].median))[1], e) for e in lines if e.figures
    ]
    lowest = -1.0
    for height, each in sorted(ends, key=lambda end: end[0]):
        lowest = max(height, lowest + APART)
        axes.annotate(
            f"{each.server.label}  {form(each.figures[-1].median)}", (1.02, lowest),
            xycoords="axes fraction", va="center", color=COLOURS[each.server], size=9.5,
            weight="bold", annotation_clip=False,
        )  # fmt: skip


def short(number: float) -> str:
    """Write a number with three digits: 1.76 M, 990 k, 56."""
    for scale, unit in ((1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"
