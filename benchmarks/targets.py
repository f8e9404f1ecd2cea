"""What epollo sets out to reach, as ratios of servers. The figure decides; nothing fails by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure, figure, ratios
from benchmarks.measure import Measurement
from benchmarks.points import PIPELINED, SMALL, Point
from benchmarks.servers import EPOLLO_PYTHON, UVLOOP_PROTOCOL, Server


@dataclass(frozen=True, slots=True)
class Target:
    """A server's median ratio to the base, at a point, is to be `least` or more."""

    text: str
    server: Server
    base: Server
    point: Point
    least: float

    def measured(self, measurements: Sequence[Measurement]) -> Figure | None:
        """Return the ratio, or None when one of the two servers was not measured."""
        if not {self.server, self.base} <= {m.server for m in measurements}:
            return None
        return figure(ratios(measurements, self.server, self.base, self.point))


TARGETS = (
    Target(
        "Python engine at or above uvloop Protocol at depth 1 (64 B)",
        EPOLLO_PYTHON,
        UVLOOP_PROTOCOL,
        SMALL,
        1.0,
    ),
    Target(
        "Python engine at or above uvloop Protocol at depth 16 (64 B)",
        EPOLLO_PYTHON,
        UVLOOP_PROTOCOL,
        PIPELINED,
        1.0,
    ),
)
