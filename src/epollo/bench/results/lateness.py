"""Why messages were sent late, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from epollo.units import UNKNOWN

_BUSY = 0.5  # of the time; a tester that was less busy had time for each message
_WAITED = 0.01  # of the time, for a processor: more is not chance


class Measured(Protocol):
    """What it takes of a `Result`."""

    @property
    def lost(self) -> int: ...
    @property
    def cpu(self) -> float: ...
    @property
    def busy(self) -> float: ...
    @property
    def waiting(self) -> float | None: ...


def cause(result: Measured) -> str:
    """What held up the tester, as the end of "the tester ...": it was too slow, or it was ready to
    run and had no processor, or it was stopped."""
    if not result.lost:
        return _cause(result)
    return f"had no connection, or {_cause(result)}"


def advice(result: Measured) -> str:
    """What to do about it: more processes help a tester that was busy, and no other."""
    if not result.cpu:
        return "lower --rate, add --processes, or stop other programs"
    if is_busy(result):
        return "lower --rate, or add --processes"
    return "stop other programs, or lower --rate"


def advice_to_search(results: Iterable[Measured]) -> str:
    """What to do about a tester that was late in all of these runs."""
    return "add --processes" if all(map(is_busy, results)) else "stop other programs"


def is_busy(result: Measured) -> bool:
    """Was the tester busy for so much of the window that it may have been too slow? True if that
    is not known."""
    return not result.cpu or result.busy >= _BUSY


def had_no_core(result: Measured) -> bool:
    """Was the tester ready to run, for a good part of the time in which it was not busy, and had no
    processor? False if that is not known."""
    return not is_busy(result) and (result.waiting or 0.0) >= _WAITED


def share(part: float | None) -> str:
    """A part of the time, formatted."""
    return UNKNOWN if part is None else f"{100 * part:.2g} %"


def _cause(result: Measured) -> str:
    if is_busy(result):
        return "was slow"
    busy, waited = f"busy for {share(result.busy)} of the time", result.waiting
    if waited is None:
        return f"had no processor, or was stopped ({busy})"
    if had_no_core(result):
        return f"had no processor ({busy}, and ready to run but waiting for {share(waited)})"
    return f"was stopped, or the machine was ({busy})"
