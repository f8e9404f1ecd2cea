"""One screen of `epollo top`: lines that fit a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from epollo.cli.control_reports import connection_cells, longest_turn, state_of
from epollo.cli.tables import Column, age, count, lines, plain, reasons, size
from epollo.top.rates import Rates
from epollo.units import format_seconds

KEYS = {
    "u": "unsent",
    "b": "buffered",
    "i": "bytes_in",
    "o": "bytes_out",
    "m": "messages_in",
    "a": "seconds",
    "d": "idle",
}
"""What a key sorts the connections by."""

_LEAST_CONNECTIONS = 3  # lines for these, before workers get more
_HEADER, _SELECTED, _WARNING, _SORTED = "bold", "reverse", "red", "not dim bold"

_WORKERS = (
    Column("WORKER"),
    Column("PID"),
    Column("STAGE", numeric=False),
    Column("AGE", rank=7),
    Column("OPEN"),
    Column("IN/s", rank=1),
    Column("OUT/s", rank=1),
    Column("BYTES IN/s", rank=5),
    Column("BYTES OUT/s", rank=4),
    Column("P99", rank=6),
    Column("LONGEST TURN", rank=2),
    Column("UNSENT"),
    Column("MEMORY", rank=3),
)
_CONNECTIONS = (
    Column("CONNECTION", numeric=False),
    Column("PEER", numeric=False, shrinks=True),
    Column("AGE", rank=5),
    Column("IDLE", rank=2),
    Column("MSGS IN", rank=4),
    Column("MSGS OUT", rank=3),
    Column("BYTES IN", rank=7),
    Column("BYTES OUT", rank=6),
    Column("UNSENT"),
    Column("BUFFERED", rank=8),
    Column("STATE", numeric=False, rank=1),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """All that one screen shows."""

    answer: Mapping[str, Any]
    rates: Rates
    late: Mapping[str, int]
    connections: Sequence[Mapping[str, Any]]
    total: int
    """Connections, those too that are not listed."""
    sort: str
    selected: str = ""
    """A connection, as the list names it."""
    message: str = ""
    """Instead of the line of keys."""
    trouble: str = ""
    """Why nothing new is shown."""


def draw(picture: Picture, width: int, height: int | None) -> list[Text]:
    """The lines; as many as the terminal has, or all without a height."""
    head = [_line(text, width, style) for text, style in _head(picture)]
    foot = [_foot(picture, width)]
    workers = _worker_lines(picture, width)
    connections = _connection_lines(picture, width)
    if height is not None:
        room = height - len(head) - len(foot) - 2  # blank lines
        most = max(2, room - _LEAST_CONNECTIONS - 1)
        workers = _cut(workers, most, "workers")
        connections = connections[: max(0, room - len(workers))]
        connections += [Text("")] * (room - len(workers) - len(connections))
    blank = Text("")
    body = [*head, blank, *workers, blank, *connections, *(foot if height is not None else [])]
    return body if height is None else [*body[: height - 1], *foot][:height]


def _head(picture: Picture) -> list[tuple[str, str]]:
    answer, rates = picture.answer, picture.rates
    totals, made = rates.totals, rates.totals.get("connections", {})
    about = plain(answer["ready_line"].removeprefix("epollo: "))
    if answer["stage"] == "drains":
        about = f"draining {about.removeprefix('serving ')}".rstrip()
    about = about or "no worker serves yet"
    lines = [(f"up {age(answer['uptime'])}, {about}", _HEADER)]
    if picture.trouble:
        lines[0] = (picture.trouble, _WARNING)
    accepted = _per_second(rates.counted.get("connections", {}).get("accepted"), rates.seconds)
    lines += [
        (f"connections  {count(made.get('open'))} open   {accepted} accepted/s", ""),
        (
            f"messages     {_rate(rates, 'messages_in')} in/s   {_rate(rates, 'messages_out')} "
            f"out/s   {_size_rate(rates, 'bytes_in')}/s in   {_size_rate(rates, 'bytes_out')}/s "
            "out",
            "",
        ),
        (
            f"handler      p50 {_time(rates, 'handler_seconds', 50)}   "
            f"p99 {_time(rates, 'handler_seconds', 99)}   "
            f"turn p99 {_time(rates, 'turn_seconds', 99)}   "
            f"slow handlers {count(totals.get('slow_handlers'))}",
            "",
        ),
        (
            f"pending      {size(totals.get('unsent'))} unsent   "
            f"{size(totals.get('buffered'))} buffered   "
            f"{count(totals.get('in_flight'))} in flight{_paused(totals)}",
            "",
        ),
        (f"closed       {reasons(dict(picture.late)) or 'none'} in the last minute", ""),
    ]
    return lines


def _paused(totals: Mapping[str, Any]) -> str:
    why = reasons(dict(totals.get("paused", {})))
    return f"   paused: {why}" if why else ""


def _foot(picture: Picture, width: int) -> Text:
    """The keys; the one that the connections are sorted by stands out."""
    if picture.message:
        return _line(picture.message, width, _SELECTED)
    foot = Text("q:quit arrows k:close ", style="dim", no_wrap=True)
    for key, name in KEYS.items():
        foot.append(" ")
        foot.append(f"{key}:{_SHORT.get(name, name)}", _SORTED if name == picture.sort else "")
    foot.truncate(width, overflow="ellipsis")
    return foot


_SHORT = {
    "bytes_in": "in",
    "bytes_out": "out",
    "messages_in": "msgs",
    "seconds": "age",
}


def _worker_lines(picture: Picture, width: int) -> list[Text]:
    rows = []
    for row in picture.answer["workers"]:
        figures, pid = row["figures"] or {}, row["pid"]
        changes = picture.rates.by_process.get(pid, {})
        one = Rates(picture.rates.seconds, figures, changes)
        rows.append(
            [
                count(row["worker"]),
                str(pid),
                row["stage"],
                age(row["age"]),
                count(figures.get("connections", {}).get("open")),
                _rate(one, "messages_in"),
                _rate(one, "messages_out"),
                _size_rate(one, "bytes_in"),
                _size_rate(one, "bytes_out"),
                _time(one, "handler_seconds", 99),
                longest_turn(figures),
                size(figures.get("unsent")),
                size(figures.get("memory")),
            ]
        )
    header, *rest = lines(_WORKERS, rows, width)
    silent = [not row["figures"] and row["stage"] != "boots" for row in picture.answer["workers"]]
    return [
        _line(header, width, _HEADER),
        *(
            _line(text, width, _WARNING if dumb else "")
            for text, dumb in zip(rest, silent, strict=True)
        ),
    ]


def _connection_lines(picture: Picture, width: int) -> list[Text]:
    rows = [[*connection_cells(row), state_of(row)] for row in picture.connections]
    header, *rest = lines(_CONNECTIONS, rows, width)
    order = _SHORT.get(picture.sort, picture.sort)
    note = f"   (by {order}, {len(rows):,} of {picture.total:,})"
    if len(header) + len(note) <= width:
        header += note
    return [
        _line(header, width, _HEADER),
        *(
            _line(text, width, _SELECTED if row["id"] == picture.selected else "")
            for text, row in zip(rest, picture.connections, strict=True)
        ),
    ]


def _cut(shown: list[Text], most: int, what: str) -> list[Text]:
    """``shown``, a header and rows, in at most ``most`` lines."""
    if len(shown) <= most:
        return shown
    left = len(shown) - most + 1
    return [*shown[: most - 1], Text(f"... {left} more {what}", style="dim")]


def _line(text: str, width: int, style: str = "") -> Text:
    line = Text(text, style=style, no_wrap=True, overflow="ellipsis")
    line.truncate(width, overflow="ellipsis")
    return line


def _rate(rates: Rates, name: str) -> str:
    return _per_second(rates.counted.get(name), rates.seconds)


def _per_second(counted: float | None, seconds: float) -> str:
    if counted is None or not seconds:
        return "-"
    rate = counted / seconds
    return f"{rate:.1f}" if 0 < rate < 9.95 else f"{rate:,.0f}"


def _size_rate(rates: Rates, name: str) -> str:
    rate = rates.rate(name)
    return "-" if rate is None else size(rate)


def _time(rates: Rates, histogram: str, percent: float) -> str:
    found = rates.percentile(histogram, percent)
    if found is None:
        return "-"
    if math.isinf(found):
        return f"> {format_seconds(rates.counted[histogram]['bounds'][-1])}"
    return format_seconds(found)
