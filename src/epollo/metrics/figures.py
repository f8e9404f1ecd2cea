"""Sums of figures: of several processes, and of those that have ended.

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

_PRESENT = ("unsent", "buffered", "in_flight", "memory", "descriptors")


def total(*figures: Values) -> dict[str, Any]:
    """The sum of all. ``since`` is the time of the latest."""
    result: dict[str, Any] = {}
    for each in figures:
        result = _sum(result, each)
    return result


def ended(figures: Values) -> dict[str, Any]:
    """The counts that remain of the ``figures`` of a process that has ended. A connection that
    was open in its last figures is closed as `DIED`."""
    result = {**figures, "paused": dict.fromkeys(figures["paused"], 0)}
    result.update(dict.fromkeys(_PRESENT, 0))
    connections = figures["connections"]
    if connections["open"]:
        closed = dict(connections["closed"])
        closed[DIED] = closed.get(DIED, 0) + connections["open"]
        result["connections"] = {**connections, "open": 0, "closed": closed}
    return result


def _sum(one: Values, other: Values) -> dict[str, Any]:
    result = dict(one)
    for name, value in other.items():
        if name not in one:
            result[name] = value
        elif name == "since":
            result[name] = max(one[name], value)
        elif not isinstance(value, Mapping):
            result[name] = one[name] + value
        elif "bounds" in value:
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
