"""The plot of `epollo lab pollers`: a wake-up's cost by idle connections, log-log."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from epollo.cli.plotting import BLUE, FAINT, GREEN, INK, QUIET, RED, new_figure, quiet
from epollo.lab.claims import Holds, Verdict
from epollo.lab.machine import Machine
from epollo.lab.pollers import PollersResult, WakeUp
from epollo.units import format_seconds

HEIGHT = 5.2
SUBTITLE = "The time of one wake-up: one connection is active, all are watched"
COLOURS = {"epoll": GREEN, "poll": BLUE, "select": RED}


def plot_pollers(result: PollersResult, machine: Machine, verdicts: Sequence[Verdict]) -> Figure:
    """A line for each poller; a cross marks the limit of select."""
    figure = new_figure(HEIGHT, _title(verdicts), SUBTITLE, str(machine))
    axes = figure.add_axes((0.09, 0.145, 0.765, 0.68))
    _prepare(axes)
    for name in dict.fromkeys(w.poller for w in result.wake_ups):
        _line(axes, [w for w in result.wake_ups if w.poller == name])
    return figure


def _title(verdicts: Sequence[Verdict]) -> str:
    growth = next(verdict for verdict in verdicts if verdict.claim == 2)
    if growth.holds is Holds.YES:
        return "epoll's cost depends on ready descriptors, select's and poll's on all"
    return f"One wake-up of each poller: claim 2 {growth.holds}"


def _prepare(axes: Axes) -> None:
    quiet(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_seconds(y)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("idle connections", color=QUIET, size=10.5)
    axes.set_ylabel("one wake-up (median, quartiles)", color=QUIET, size=10.5)


def _line(axes: Axes, series: Sequence[WakeUp]) -> None:
    found = [w for w in series if w.median is not None]
    if not found:
        return
    colour = COLOURS.get(found[0].poller, QUIET)
    idle = [w.idle for w in found]
    lower, upper = [w.lower or 0.0 for w in found], [w.upper or 0.0 for w in found]
    axes.fill_between(idle, lower, upper, color=colour, alpha=0.2, linewidth=0)
    axes.plot(*zip(*map(_place, found), strict=True), color=colour, linewidth=2.4, marker="o",
              markersize=5)  # fmt: skip
    ended = next((w for w in series if w.refused is not None), None)
    if ended is None:
        _label(axes, found[-1], colour)
    else:
        _mark_end(axes, found[-1], ended, colour)


def _label(axes: Axes, last: WakeUp, colour: str) -> None:
    """Label the end of a line with the poller's name and last figure."""
    axes.annotate(
        _name(last), _place(last), (10, 0), textcoords="offset points", ha="left", va="center",
        color=colour, size=11.5, weight="bold", annotation_clip=False,
    )  # fmt: skip


def _mark_end(axes: Axes, last: WakeUp, ended: WakeUp, colour: str) -> None:
    """Mark the end of a poller's line at its limit, and say why."""
    axes.axvline(ended.watched, color=colour, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)
    axes.plot(
        *_place(last), marker="X", markersize=13, color=colour, markeredgecolor="white", zorder=5
    )
    axes.annotate(
        _name(last), _place(last), (-8, 46), textcoords="offset points", ha="right", va="bottom",
        color=colour, size=11.5, weight="bold",
    )  # fmt: skip
    axes.annotate(
        f"its limit: descriptor {ended.refused} is\nrefused, however few are watched",
        _place(last), (-8, 43), textcoords="offset points", ha="right", va="top", color=INK,
        size=10, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _name(last: WakeUp) -> str:
    return f"{last.poller}  {format_seconds(last.median or 0)}"


def _place(last: WakeUp) -> tuple[float, float]:
    return float(last.idle), last.median or 0.0
