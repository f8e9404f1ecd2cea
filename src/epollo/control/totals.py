"""The figures of several processes, added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from epollo.control.inquirer import Values

_SAME = "bounds"  # of a histogram: equal in all processes
_EARLIEST = "since"


def total(figures: Iterable[Values]) -> dict[str, Any]:
    """The sum of all ``figures``: of numbers, and of those in tables and lists, place by place.
    ``since`` is the earliest; ``bounds`` of a histogram are kept."""
    summed: dict[str, Any] = {}
    for each in figures:
        for name, value in each.items():
            summed[name] = _add(name, summed[name], value) if name in summed else value
    return summed


def difference(after: Values, before: Values) -> dict[str, Any]:
    """The counts of one process between two looks at its figures."""
    return {
        name: value if name == _SAME else _subtract(value, before.get(name))
        for name, value in after.items()
    }


def _add(name: str, one: Any, other: Any) -> Any:
    if name == _SAME or one is None or other is None:
        return other if one is None else one
    if name == _EARLIEST:
        return min(one, other)
    if isinstance(one, Mapping):
        return total([one, other])
    if isinstance(one, Sequence) and not isinstance(one, str):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other


def _subtract(after: Any, before: Any) -> Any:
    if before is None or after is None or isinstance(after, str):
        return after
    if isinstance(after, Mapping):
        return difference(after, before)
    if isinstance(after, Sequence):
        return [a - b for a, b in zip(after, before, strict=True)]
    return after - before
