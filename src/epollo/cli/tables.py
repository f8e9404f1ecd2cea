"""Tables of text, aligned, that fit into a terminal; and quantities as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column. If not all fit, those with the highest ``rank`` are left out first; those of
    rank 0 never are. ``shrinks``: its cells may be cut."""

    title: str
    numeric: bool = True
    rank: int = 0
    shrinks: bool = False


def lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """The header and each row as a line, of at most ``width`` characters."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [
        max(len(text) for text in [column.title, *(row[at] for row in cells)])
        for at, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if width is not None:
        shown = _fitting(columns, widths, width)
    table = [[column.title for column in columns], *cells]
    return [
        _GAP.join(_cell(row[at], widths[at], numeric=columns[at].numeric) for at in shown).rstrip()
        for row in table
    ]


def _fitting(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """The places of the columns that are shown; the widths of some shrink."""
    shown = list(range(len(columns)))

    def excess() -> int:
        return sum(widths[at] for at in shown) + len(_GAP) * (len(shown) - 1) - width

    while excess() > 0 and any(columns[at].rank for at in shown):
        shown.remove(max(shown, key=lambda at: columns[at].rank))
    for at in shown:
        if columns[at].shrinks and excess() > 0:
            widths[at] = max(len(columns[at].title), 8, widths[at] - excess())
    return shown


def _cell(text: str, width: int, *, numeric: bool) -> str:
    if len(text) > width:
        text = f"{text[: width - 1]}…"
    return text.rjust(width) if numeric else text.ljust(width)


def plain(text: str) -> str:
    """``text`` without what commands a terminal: a peer may have chosen it."""
    return "".join(each if each.isprintable() else "?" for each in text)


def count(value: Any) -> str:
    """A whole number, or a ``-`` that is not known."""
    return "-" if value is None else f"{value:,}"


def size(value: float | None) -> str:
    """Bytes: ``712 B``, ``3.4 KiB``, ``128 MiB``."""
    if value is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 999.5 or (unit == "B" and abs(value) < 1024):
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def age(seconds: float | None) -> str:
    """A time that has passed: ``0.2s``, ``47s``, ``3m12s``, ``2h05m``, ``4d03h``."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def reasons(counts: dict[str, int]) -> str:
    """Those that occurred, the most frequent first: ``eof 10, reset 2``."""
    found = sorted((item for item in counts.items() if item[1]), key=lambda item: -item[1])
    return ", ".join(f"{name} {number:,}" for name, number in found)
