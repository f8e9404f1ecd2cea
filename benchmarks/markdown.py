"""Markdown: tables, and figures as their cells."""

from collections.abc import Callable, Sequence

from benchmarks.quiet import MARK
from benchmarks.samples import Figure

NONE = "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def section(heading: str, *paragraphs: str) -> str:
    """Return a section."""
    return "\n\n".join([f"## {heading}", *paragraphs])


def ratio(value: Figure | None, digits: int = 2) -> str:
    """Format a ratio with its spread."""
    return spread(value, lambda number: f"{number:.{digits}f}")


def whole(value: Figure | None) -> str:
    """Format a figure in whole numbers, with its spread."""
    return spread(value, lambda number: f"{number:,.0f}")


def spread(value: Figure | None, form: Callable[[float], str]) -> str:
    """Format a median with the lowest and the highest in brackets."""
    if value is None:
        return NONE
    return f"{mark(value)}{form(value.median)} ({form(value.lowest)}-{form(value.highest)})"


def median(value: Figure | None) -> str:
    """Format the median alone, as a whole number."""
    return NONE if value is None else f"{mark(value)}{value.median:,.0f}"


def mark(value: Figure) -> str:
    """Return what stands before a figure of a machine that was not quiet."""
    return MARK if value.noisy else ""
