"""All pictures of results on one sheet. Imports matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

import epollo
from epollo.bench.compare.letters import letter
from epollo.bench.output.pictures.panels import Panel, panels
from epollo.bench.output.wording import described, moment, percentiles_ns
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from epollo.cli.plotting import INK, WIDTH, new_figure

# Inches. A panel keeps MARGIN to its left for figures, and NAMES to its right for lines.
PANEL, WIDE = 2.05, 2.5
ABOVE, BELOW, GAP = 1.05, 0.72, 0.92
MARGIN, NAMES, BETWEEN = 0.72, 1.12, 0.05
LINE = 0.2  # of text
_LONG, _TITLE = 110, 70  # most characters of a line of text and of the title


def sheet(
    results: Sequence[Result],
    names: Sequence[str] = (),
    title: str = "",
    shown: Sequence[Panel] = (),
) -> Figure:
    """The panels in two columns; if their number is odd, the first one is as wide as both. They are
    those of the results, or ``shown``."""
    shown = shown or panels(results)
    rows = _rows(shown)
    legend = _legend(results, names)
    above = ABOVE + (LINE * len(legend) + 0.12 if legend else 0)
    heights = [WIDE if len(row) == 1 else PANEL for row in rows]
    height = above + BELOW + sum(heights) + GAP * max(0, len(rows) - 1)
    with rc_context({"text.parse_math": False}):
        figure = new_figure(
            height, _cut(title, _TITLE) or _title(results), _subtitle(results), _footer(results)
        )
        for number, text in enumerate(legend):
            top = (0.78 + LINE * number) / height
            figure.text(0.02, 1 - top, text, size=9.5, color=INK, va="top")
        top = height - above
        for row, tall in zip(rows, heights, strict=True):
            _draw_row(figure, row, (top - tall, tall), height)
            top -= tall + GAP
    return figure


def _rows(shown: Sequence[Panel]) -> list[Sequence[Panel]]:
    first = len(shown) % 2
    return [shown[:1]] * first + [shown[n : n + 2] for n in range(first, len(shown), 2)]


def _draw_row(
    figure: Figure, row: Sequence[Panel], place: tuple[float, float], height: float
) -> None:
    """Draw panels side by side; ``place`` is the bottom and the height of their axes."""
    bottom, tall = place
    column = (WIDTH - BETWEEN) / len(row)
    for number, panel in enumerate(row):
        left = number * column + MARGIN
        box = (left, bottom, column - MARGIN - NAMES, tall)
        axes = figure.add_axes((box[0] / WIDTH, box[1] / height, box[2] / WIDTH, box[3] / height))
        panel.draw(axes)
        start = -(MARGIN - 0.02 * WIDTH) / box[2]
        axes.text(
            start, 1 + 0.14 / tall, panel.title, transform=axes.transAxes, size=10.5,
            weight="bold", color=INK,
        )  # fmt: skip


def _title(results: Sequence[Result]) -> str:
    if len(results) > 1:
        p99 = ", ".join(f"{letter(n)} {_p99(result)}" for n, result in enumerate(results))
        return _cut(f"p99 of {len(results)} runs: {p99}", _TITLE)
    (result,) = results
    if result.errors or not result.messages:
        return _cut(str(Verdict.of(result)), _TITLE)
    return f"p99 {_p99(result)} at {result.rate:,.0f} messages a second"


def _p99(result: Result) -> str:
    return percentiles_ns(result.response, [99.0])[0]


def _subtitle(results: Sequence[Result]) -> str:
    if len(results) > 1:
        return "Each run has one line, with its letter at the end"
    return _cut(described(results[0].workload), _LONG)


def _legend(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    """One line for each of several results: its letter, its name and its load."""
    if len(results) < 2:
        return []
    named = [*names, *(result.workload.address for result in results[len(names) :])]
    return [
        _cut(f"{letter(n)}   {name}: {described(result.workload)}", _LONG)
        for n, (name, result) in enumerate(zip(named, results, strict=True))
    ]


def _footer(results: Sequence[Result]) -> str:
    addresses = ", ".join(dict.fromkeys(result.workload.address for result in results))
    return (
        f"epollo bench {_cut(addresses, _LONG)}, {moment(results[0])}, epollo {epollo.__version__}"
    )


def _cut(text: str, most: int) -> str:
    """``text``, not too long; a name in it need not be text."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"
