"""The plot of `epollo lab backlog`: the clients' state over time, one strip for each queue."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from epollo.cli.plotting import BLUE, FAINT, INK, ORANGE, QUIET, new_figure, quiet
from epollo.lab.backlog import PROMPT, BacklogResult, QueueResult
from epollo.lab.claims import short_queue
from epollo.lab.machine import Machine
from epollo.units import format_seconds

STRIP = 0.95  # inches
ABOVE, BELOW, GAP = 1.62, 0.82, 0.16
LEFT, RIGHT = 0.15, 0.66  # of the figure's width; the counts are to the right
COLUMNS = (0.715, 0.795, 0.865, 0.95)


def plot_backlog(result: BacklogResult, machine: Machine) -> Figure:
    """Clients with a reply, connected without one, and not connected, over time."""
    rows = result.results
    height = ABOVE + BELOW + len(rows) * STRIP + (len(rows) - 1) * GAP
    figure = new_figure(height, _title(rows), _subtitle(result), str(machine))
    for number, found in enumerate(rows):
        bottom = BELOW + (len(rows) - 1 - number) * (STRIP + GAP)
        axes = figure.add_axes((LEFT, bottom / height, RIGHT - LEFT, STRIP / height))
        _strip(axes, found)
        _name_time(axes, last=number == len(rows) - 1)
        _row_texts(figure, found, (bottom + STRIP / 2) / height)
        if number == 0:
            _events(axes, result)
    _headings(figure, rows[0], 1 - (ABOVE - 0.1) / height)
    _legend(figure, 1 - 0.78 / height)
    return figure


def _title(rows: Sequence[QueueResult]) -> str:
    short = short_queue(rows)
    if short is None:
        return f"{rows[0].clients:,} clients connect at once: how many get a reply"
    wait = format_seconds(short.wait)
    start, clients = f"With an accept queue of {short.queue:,}", f"{short.clients:,} clients"
    if short.never:
        return f"{start}, {short.never:,} of {clients} had no reply in {wait}"
    if short.late:
        return f"{start}, {short.late:,} of {clients} waited over a second"
    return f"{start}, all {clients} had a reply within a second"


def _subtitle(result: BacklogResult) -> str:
    busy = format_seconds(result.busy)
    text = f"{result.clients:,} clients connect at once; the server is busy for the first {busy}."
    if any(found.connected_unserved for found in result.results):
        text += " A successful connect proves nothing."
    return text


def _strip(axes: Axes, found: QueueResult) -> None:
    """Stacked areas: with a reply, connected without one, not connected."""
    times = sorted({0.0, found.wait, *_moments(found)})
    replied = [found.replied_by(time) for time in times]
    connected = [found.connected_by(time) for time in times]
    axes.fill_between(times, replied, step="post", color=BLUE, linewidth=0)
    axes.fill_between(times, replied, connected, step="post", color=ORANGE, linewidth=0)
    axes.fill_between(times, connected, found.clients, step="post", color=FAINT, linewidth=0)
    axes.set_xlim(0, found.wait)
    axes.set_ylim(0, found.clients)
    axes.set_yticks([0, found.clients], ["0", f"{found.clients:,}"])
    quiet(axes)


def _moments(found: QueueResult) -> list[float]:
    both = [moment for a in found.attempts for moment in (a.connected, a.replied)]
    return [moment for moment in both if moment is not None and moment < found.wait]


def _name_time(axes: Axes, last: bool) -> None:
    axes.tick_params(labelbottom=last)
    if last:
        axes.set_xlabel("seconds since all clients started", color=QUIET, size=10)


def _events(axes: Axes, result: BacklogResult) -> None:
    """Label the events above the first strip."""
    events = [(result.busy, f"{format_seconds(result.busy)}: the server is free", 17)]
    if any(found.late or found.never for found in result.results):
        events.append((PROMPT, f"{format_seconds(PROMPT)}: lost SYNs are sent again", 4))
    for time, text, lift in events:
        axes.annotate(
            text, (time, 1), (3, lift), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="left", va="bottom", color=QUIET, size=8.5,
        )  # fmt: skip
        axes.annotate(
            "", (time, 1), (0, lift + 11), xycoords=("data", "axes fraction"),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.8, "shrinkA": 0,
                        "shrinkB": 0},
        )  # fmt: skip


def _row_texts(figure: Figure, found: QueueResult, middle: float) -> None:
    """The queue's length to the left of its strip, the counts to the right."""
    queue = f"{found.queue:,}"
    size = 15 if len(queue) < 6 else 11
    figure.text(0.02, middle, queue, size=size, weight="bold", color=INK, va="center")
    retries = found.counters.get("TCPSynRetrans")
    texts = [f"{found.prompt:,}", f"{found.late:,}", f"{found.never:,}"]
    texts.append("-" if retries is None else f"{retries:,}")
    for place, text, lost in zip(COLUMNS, texts, (0, 0, found.never, 0), strict=True):
        weight, points = "bold" if lost else "normal", 13.0 if len(text) < 5 else 11.5
        figure.text(
            place, middle, text, size=points, weight=weight, color=INK, ha="center", va="center"
        )


def _headings(figure: Figure, row: QueueResult, bottom: float) -> None:
    prompt, wait = format_seconds(PROMPT), format_seconds(row.wait)
    texts = (
        f"reply\nwithin\n{prompt}",
        f"{prompt} to\n{wait}",
        f"never\n(in {wait})",
        "SYN\nretries",
    )
    for place, text in zip(COLUMNS, texts, strict=True):
        figure.text(place, bottom, text, size=9, color=QUIET, ha="center", va="bottom")
    figure.text(0.02, bottom, "accept\nqueue", size=9, color=QUIET, va="bottom")
    figure.text(LEFT - 0.005, bottom, "clients", size=9, color=QUIET, ha="right", va="bottom")


def _legend(figure: Figure, top: float) -> None:
    patches = [
        Patch(color=BLUE, label="had a reply"),
        Patch(color=ORANGE, label="connected, no reply"),
        Patch(color=FAINT, label="not connected"),
    ]
    figure.legend(
        handles=patches, loc="upper left", bbox_to_anchor=(0.012, top), ncols=3, frameon=False,
        fontsize=10, handlelength=1.1, handleheight=1.0, columnspacing=1.6, labelcolor=INK,
        borderpad=0.2,
    )  # fmt: skip
