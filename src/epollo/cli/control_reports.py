"""What `epollo ctl` prints for people: the answers of the control socket as lines."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

from epollo.cli.tables import Column, age, count, lines, plain, reasons, size
from epollo.plurals import counted
from epollo.units import format_seconds

_WORKERS = (
    Column("WORKER"),
    Column("PID"),
    Column("STAGE", numeric=False),
    Column("AGE"),
    Column("OPEN"),
    Column("MSGS IN", rank=3),
    Column("MSGS OUT", rank=4),
    Column("BYTES IN", rank=6),
    Column("BYTES OUT", rank=5),
    Column("UNSENT"),
    Column("BUFFERED", rank=7),
    Column("LONGEST TURN", rank=2),
    Column("MEMORY", rank=1),
    Column("FDS", rank=8),
)
_CONNECTIONS = (
    Column("CONNECTION", numeric=False),
    Column("PEER", numeric=False, shrinks=True),
    Column("AGE"),
    Column("IDLE", rank=1),
    Column("MSGS IN", rank=4),
    Column("MSGS OUT", rank=3),
    Column("BYTES IN", rank=7),
    Column("BYTES OUT", rank=6),
    Column("UNSENT"),
    Column("BUFFERED", rank=8),
    Column("IN FLIGHT", rank=9),
    Column("GROUPS", rank=10),
    Column("STATE", numeric=False, rank=2),
)
_CLOSED = (
    Column("AT", numeric=False),
    Column("CONNECTION", numeric=False),
    Column("PEER", numeric=False, shrinks=True),
    Column("REASON", numeric=False),
    Column("AGE", rank=1),
    Column("MSGS IN", rank=4),
    Column("MSGS OUT", rank=3),
    Column("BYTES IN", rank=6),
    Column("BYTES OUT", rank=5),
    Column("UNSENT", rank=2),
    Column("ERROR", numeric=False, rank=7),
)


def process_of(row: dict[str, Any]) -> str:
    """A process in words: ``worker 2 (process 4711)``."""
    if row.get("worker") is None:
        return f"process {row['pid']}"
    return f"worker {row['worker']} (process {row['pid']})"


def status(answer: dict[str, Any], width: int | None) -> list[str]:
    totals = answer["totals"]
    about = plain(answer["ready_line"].removeprefix("epollo: ")) or "no worker serves yet"
    rows = [
        ("serves" if answer["stage"] == "serves" else "drains", about.removeprefix("serving ")),
        (
            "process",
            f"{answer['pid']}, epollo {answer['version']}, up {age(answer['uptime'])}",
        ),
    ]
    if answer["workers"] is not None:
        rows.append(("workers", _workers_line(answer)))
    if answer.get("before") is not None:  # a server of an older version does not tell
        rows.append(("before", f"the supervisor before, process {answer['before']}, still drains"))
    if totals:
        rows += _totals(totals)
    indent = max(len(name) for name, _ in rows) + 2
    return [
        f"{name if number == 0 else '':<{indent}}{line}"
        for name, text in rows
        for number, line in enumerate(_wrapped(text, width and width - indent))
    ]


def _wrapped(text: str, width: int | None) -> list[str]:
    """``text`` in lines of at most ``width`` characters; a longer word has a line of its own."""
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False)


def _workers_line(answer: dict[str, Any]) -> str:
    parts = [f"{answer['serving']} of {answer['workers']} serve"]
    parts += [f"{answer[name]} {verb}" for name, verb in _STAGES if answer[name]]
    return ", ".join(parts)


_STAGES = (("booting", "boot"), ("draining", "drain"))


def _totals(totals: dict[str, Any]) -> list[tuple[str, str]]:
    made = totals["connections"]
    paused = reasons(totals["paused"])
    return [
        (
            "connections",
            f"{made['open']:,} open, {made['accepted']:,} accepted, "
            f"{_with_reasons('closed', made['closed'])}, "
            f"{_with_reasons('refused', made['refused'])}",
        ),
        ("messages", f"{count(totals['messages_in'])} in, {count(totals['messages_out'])} out"),
        ("bytes", f"{size(totals['bytes_in'])} in, {size(totals['bytes_out'])} out"),
        (
            "pending",
            f"{size(totals['unsent'])} unsent, {size(totals['buffered'])} buffered, "
            f"{count(totals['in_flight'])} in flight{f'; paused: {paused}' if paused else ''}",
        ),
        (
            "memory",
            f"{size(totals['memory'])}, {count(totals['descriptors'])} descriptors",
        ),
    ]


def _with_reasons(word: str, counts: dict[str, int]) -> str:
    why = reasons(counts)
    return f"{sum(counts.values()):,} {word}{f' ({why})' if why else ''}"


def worker_rows(answer: dict[str, Any]) -> list[list[str]]:
    """The cells of each worker."""
    rows = []
    for row in answer["workers"]:
        figures = row["figures"] or {}
        rows.append(
            [
                count(row["worker"]),
                str(row["pid"]),
                row["stage"],
                age(row["age"]),
                count(figures.get("connections", {}).get("open")),
                count(figures.get("messages_in")),
                count(figures.get("messages_out")),
                size(figures.get("bytes_in")),
                size(figures.get("bytes_out")),
                size(figures.get("unsent")),
                size(figures.get("buffered")),
                longest_turn(figures),
                size(figures.get("memory")),
                count(figures.get("descriptors")),
            ]
        )
    return rows


def longest_turn(figures: Mapping[str, Any]) -> str:
    """Of the last 30 to 60 seconds. A turn below the first bound of the histogram is not kept."""
    seconds = figures.get("longest_turn")
    if seconds is None:
        return "-"
    if not seconds:
        return f"< {format_seconds(figures['turn_seconds']['bounds'][0])}"
    return format_seconds(seconds)


def workers(answer: dict[str, Any], width: int | None) -> list[str]:
    return lines(_WORKERS, worker_rows(answer), width)


def connections(answer: dict[str, Any], width: int | None) -> list[str]:
    rows = [
        [
            *connection_cells(row),
            count(row["in_flight"]),
            count(row["groups"]),
            state_of(row),
        ]
        for row in answer["connections"]
    ]
    return _listed(_CONNECTIONS, rows, width, answer["total"])


def connection_cells(row: Mapping[str, Any]) -> list[str]:
    """Which connection it is, how old, and what went through it and is left."""
    return [
        row["id"],
        row["peer"],
        age(row["seconds"]),
        age(row["idle"]),
        count(row["messages_in"]),
        count(row["messages_out"]),
        size(row["bytes_in"]),
        size(row["bytes_out"]),
        size(row["unsent"]),
        size(row["buffered"]),
    ]


def state_of(row: Mapping[str, Any]) -> str:
    """The state of a connection, with TLS and why it is paused."""
    state = f"{row['state']}{' tls' if row['tls'] else ''}"
    return f"{state}, paused: {' '.join(row['paused'])}" if row["paused"] else state


def closed(answer: dict[str, Any], width: int | None, limit: int) -> list[str]:
    """With fewer than ``limit``, there are no others of that reason and peer."""
    rows = [
        [
            _moment(row["at"]),
            row["id"],
            row["peer"],
            row["reason"],
            age(row["seconds"]),
            count(row["messages_in"]),
            count(row["messages_out"]),
            size(row["bytes_in"]),
            size(row["bytes_out"]),
            size(row["unsent"]),
            row["error"] or "",
        ]
        for row in answer["closed"]
    ]
    return _listed(_CLOSED, rows, width, answer["total"] if len(rows) >= limit else len(rows))


def close(
    answer: dict[str, Any],
    connection: str | None,
    peer: str | None,
    left: Sequence[dict[str, Any]],
) -> list[str]:
    if connection is None:
        number = answer["closed"]
        return [f"{number:,} connection{'' if number == 1 else 's'} of {peer} closed"]
    if left and left[0]["unsent"]:
        unsent = size(left[0]["unsent"])
        return [f"{connection} closes when its {unsent} unsent are taken; --abort does it now"]
    if left:
        return [f"{connection} closes"]
    return [f"{connection} is closed"]


def drain(answer: dict[str, Any]) -> list[str]:
    return [
        f"worker {answer['worker']}: process {answer['serving']} serves since "
        f"{age(answer['seconds'])}, {_drains(answer['draining'])}"
    ]


def _drains(process: int | None) -> str:
    return "there was none before" if process is None else f"process {process} drains"


def stop(_: dict[str, Any]) -> list[str]:
    return ["the server drains, and ends"]


def reload(answer: dict[str, Any]) -> list[str]:
    number = answer["replaced"]
    return [f"reload done: {counted(number, 'worker')} replaced in {answer['seconds']:.1f} s"]


def scale(answer: dict[str, Any]) -> list[str]:
    return [f"{counted(answer['workers'], 'worker')}, {answer['before']} before"]


def log_level(answer: dict[str, Any]) -> list[str]:
    levels = {row["level"] for row in answer["levels"]}
    if len(levels) == 1:
        return [f"{answer['logger']}: {levels.pop()}"]
    return [f"{answer['logger']}: {row['level']} in {process_of(row)}" for row in answer["levels"]]


def _listed(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, total: int
) -> list[str]:
    """A table, and a line about the rows that are not shown."""
    if not rows:
        return ["none"]
    left = [] if len(rows) >= total else [f"{len(rows):,} of {total:,}; --limit shows more"]
    return [*lines(columns, rows, width), *left]


def _moment(at: float) -> str:
    """A time of today, or a day and a time."""
    then, now = time.localtime(at), time.localtime()
    day = "" if then[:3] == now[:3] else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M:%S", then)
