"""A comparison as text: a table for each side but the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from epollo.bench.compare.ratios import Change, Comparison, Row
from epollo.units import UNKNOWN, format_seconds

_OF_SECONDS = """\
Ratios with 95 % intervals, from the variation between the seconds of each run. Another run may
differ by more: repeat each, with a directory of files a side, and compare the directories."""
_OF_RUNS = "Ratios with 95 % intervals, from the variation between the runs of each side."


def render(comparison: Comparison, labels: Sequence[str], repeated: bool) -> str:
    """The whole text. ``labels`` describe the sides; ``repeated``: some have several runs."""
    names = comparison.names
    width = max(map(len, names))
    pairs = zip(names, labels, strict=True)
    parts = ["\n".join(f"{name:{width}}  {label}" for name, label in pairs)]
    parts += [_table(comparison, number) for number in range(1, len(names))]
    parts += ["\n".join(comparison.notes)] if comparison.notes else []
    return "\n\n".join([*parts, _OF_RUNS if repeated else _OF_SECONDS])


def _table(comparison: Comparison, number: int) -> str:
    """The table of side ``number`` compared with the first."""
    first, other = comparison.names[0], comparison.names[number]
    head = ("", first, other, f"{other} / {first}", "interval", "")
    rows = [head, *(tuple(_cells(row, number)) for row in comparison.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, verdict = cells
    columns = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=False)]
    return "   ".join([f"{first:<{widths[0]}}", *columns, verdict]).rstrip()


def _cells(row: Row, number: int) -> Iterator[str]:
    change = row.changes[number - 1]
    yield row.name
    yield figure(row.values[0], row.unit)
    yield figure(row.values[number], row.unit)
    yield "" if change.ratio is None else f"{change.ratio:.3f}"
    yield interval(change)
    yield change.verdict


def interval(change: Change) -> str:
    """The interval of the ratio; empty if there is none."""
    if change.low is None or change.high is None:
        return ""
    return f"{change.low:.3f} to {_bound(change.high)}"


def _bound(value: float) -> str:
    """An upper bound, which may be above all measured values."""
    return f"{value:.3f}" if value < 1000 else "any"


def figure(value: float | None, unit: str) -> str:
    """A value of a row with its unit; None is not known."""
    if value is None:
        return UNKNOWN
    if unit == "s":
        return format_seconds(value)
    return f"{value:,.0f}{unit}" if unit else f"{100 * value:.3g} %"
