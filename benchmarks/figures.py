"""From raw rates to figures: medians and spreads, and ratios of servers within a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import Measurement
from benchmarks.points import Point
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of one value a round, with its spread."""

    median: float
    lowest: float
    highest: float


def figure(values: Sequence[float]) -> Figure:
    """Summarise the values, of which there is at least one."""
    return Figure(median(values), min(values), max(values))


def rates(measurements: Sequence[Measurement], server: Server, point: Point) -> list[float]:
    """Return a server's messages per second at a point, in the order of the rounds."""
    return [m.load.rate for m in measurements if m.server == server and m.point == point]


def ratios(
    measurements: Sequence[Measurement], server: Server, base: Server, point: Point
) -> list[float]:
    """Return a server's rate over the base's rate in the same round, at a point."""
    pairs = zip(rates(measurements, server, point), rates(measurements, base, point), strict=True)
    return [rate / of_base for rate, of_base in pairs]
