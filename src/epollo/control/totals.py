"""Figures of processes: their sums, what is left of one that has ended, and what came since a look.

Figures are what a process answers to the question ``figures`` (`epollo.server.inspection`): counts
since it began, and what it has at the moment, such as open connections.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from epollo.control.inquirer import Values

DIED = "worker_died"
"""The reason of connections that were open when their worker was killed: nobody counted their
ends."""

_PRESENT = ("unsent", "buffered", "in_flight", "memory", "descriptors", "longest_turn")
_LARGEST = ("since", "longest_turn")  # of which the largest is kept
_SAME = "bounds"  # of a histogram


def total(*figures: Values) -> dict[str, Any]:
    """The sum of all. ``since`` is the time of the latest, ``longest_turn`` the longest."""
    result: dict[str, Any] = {}
    for each in figures:
        result = _sum(result, each)
    return result


def ended(figures: Values) -> dict[str, Any]:
    """The counts that remain of the ``figures`` of a process that has ended. A connection that
    was open in its last figures is closed as `DIED`."""
    result = {**figures, "paused": dict.fromkeys(figures["paused"], 0)}
    result.update(dict.fromkeys(_PRESENT, 0))
    if "broker" in figures:  # which those of an earlier version have not
        result["broker"] = {**figures["broker"], "connections": 0, "waiting": 0}
    connections = figures["connections"]
    if connections["open"]:
        closed = dict(connections["closed"])
        closed[DIED] = closed.get(DIED, 0) + connections["open"]
        result["connections"] = {**connections, "open": 0, "closed": closed}
    return result


def difference(after: Values, before: Values) -> dict[str, Any]:
    """The counts of one process between two looks at its figures."""
    return {
        name: value if name == _SAME else _subtract(value, before.get(name))
        for name, value in after.items()
    }


def _sum(one: Values, other: Values) -> dict[str, Any]:
    result = dict(one)
    for name, value in other.items():
        if name not in one:
            result[name] = value
        elif name in _LARGEST:
            result[name] = max(one[name], value)
        elif not isinstance(value, Mapping):
            result[name] = one[name] + value
        elif _SAME in value:
            result[name] = _sum_of_histograms(one[name], value)
        else:
            result[name] = _sum(one[name], value)
    return result


def _sum_of_histograms(one: Values, other: Values) -> dict[str, Any]:
    """With the bounds of ``other``. If those of ``one`` are others, as those of another version are
    before a handover, its counts go to the next bound."""
    counts = list(other["counts"])
    bounds: Sequence[float] = other["bounds"]
    for at, count in enumerate(one["counts"]):
        known = at < len(one["bounds"])
        counts[bisect_left(bounds, one["bounds"][at]) if known else len(bounds)] += count
    return {"bounds": bounds, "counts": counts, "sum": one["sum"] + other["sum"]}


def _subtract(after: Any, before: Any) -> Any:
    if before is None or isinstance(after, str):
        return after
    if isinstance(after, Mapping):
        return difference(after, before)
    if isinstance(after, Sequence):
        return [a - b for a, b in zip(after, before, strict=True)]
    return after - before
