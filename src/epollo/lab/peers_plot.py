"""The plot of `epollo lab peers`: a bar for each server, a panel for each depth."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from epollo.cli.plotting import BLUE, FAINT, GREEN, INK, QUIET, new_figure, quiet
from epollo.lab.comparison import ComparedServer, Comparison
from epollo.lab.machine import Machine
from epollo.units import format_seconds, format_size

BAR, GAP = 0.27, 0.75  # inches
ABOVE, BELOW = 1.0, 0.62
LEFT, RIGHT = 0.24, 0.86  # of the figure's width
THICKNESS = 0.68  # of a bar's row


def plot_peers(result: Comparison, machine: Machine) -> Figure:
    """Messages a second, the fastest server at the top, with the range over the rounds."""
    panel = BAR * len(result.measured)
    panels = len(result.depths)
    height = ABOVE + BELOW + panels * panel + (panels - 1) * GAP
    figure = new_figure(height, _title(result), _subtitle(result), str(machine))
    for number, depth in enumerate(result.depths):
        bottom = BELOW + (panels - 1 - number) * (panel + GAP)
        axes = figure.add_axes((LEFT, bottom / height, RIGHT - LEFT, panel / height))
        _panel(axes, result, depth)
    return figure


def _title(result: Comparison) -> str:
    return f"epollo compared with its peers, {result.connections:,} connections"


def _subtitle(result: Comparison) -> str:
    return (
        f"Framed echo of {format_size(result.size)}: median and range; ratio to "
        f"{result.base.label}; in brackets the server's CPU for a message"
    )


def _panel(axes: Axes, result: Comparison, depth: int) -> None:
    servers = sorted(result.measured, key=lambda server: result.rate(server, depth).median)
    rates = [result.rate(server, depth) for server in servers]
    engines = {server for server in servers if server.label.startswith("epollo")}
    colours = [GREEN if server in engines else BLUE for server in servers]
    places = range(len(servers))
    axes.barh(places, [r.median for r in rates], THICKNESS, color=colours)
    axes.hlines(places, [r.lowest for r in rates], [r.highest for r in rates], INK, linewidth=1.2)
    for place, server in enumerate(servers):
        axes.annotate(
            _label(result, server, depth), (rates[place].highest, place), (6, 0),
            textcoords="offset points", va="center", color=INK, size=9, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(list(places), [server.label for server in servers])
    _style(axes, depth)


def _label(result: Comparison, server: ComparedServer, depth: int) -> str:
    text, cost = f"{result.ratio(server, depth).median:.2f}", result.cost(server, depth)
    return text if cost is None else f"{text}  ({format_seconds(cost)})"


def _style(axes: Axes, depth: int) -> None:
    quiet(axes)
    axes.set_xlim(left=0)
    axes.margins(y=0.01)
    axes.grid(visible=True, axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_title(f"depth {depth}", loc="left", size=10.5, weight="bold", color=INK, pad=4)
    axes.set_xlabel("messages a second", color=QUIET, size=9.5)
    for text in axes.get_yticklabels():
        text.set_color(INK)
