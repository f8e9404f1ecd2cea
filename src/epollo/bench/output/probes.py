"""The runs of a search as a text table, printed line by line."""

from __future__ import annotations

from collections.abc import Sequence

from epollo.bench.output.wording import percentiles_ns
from epollo.bench.results.thresholds import Threshold
from epollo.bench.search import Probe, show_rate
from epollo.units import UNKNOWN

_ALWAYS = ("p50", "p99")


def head(limits: Sequence[Threshold]) -> str:
    """The names of the columns."""
    return _line(["rate", "achieved", *_ALWAYS, *(each.figure for each in _others(limits))], "")


def row(probe: Probe, limits: Sequence[Threshold]) -> str:
    """One run: its rate, the achieved rate, its figures, and whether the limits held."""
    cells = [show_rate(probe.rate), show_rate(probe.result.rate)]
    cells += percentiles_ns(probe.result.response, (50.0, 99.0))
    for limit in _others(limits):
        value = limit.kind.read(probe.result)
        cells.append(UNKNOWN if value is None else limit.kind.show(value))
    return _line(cells, probe.why or "held")


def _others(limits: Sequence[Threshold]) -> list[Threshold]:
    """The limits on figures that do not have a column of their own."""
    return list({each.figure: each for each in limits if each.figure not in _ALWAYS}.values())


def _line(cells: Sequence[str], words: str) -> str:
    return ("".join(f"{cell:>12}" for cell in cells) + "  " + words).rstrip()
