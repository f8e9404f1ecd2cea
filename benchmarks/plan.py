"""What to measure, how long and how often."""

from dataclasses import dataclass

from benchmarks.points import Point
from benchmarks.quiet import ATTEMPTS
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of things.

    Attributes:
        connections: busy ones, where nothing else is said.
        idle: numbers of idle connections at which memory is read; the last is held beside others.
        idle_tls: the same, of TLS connections.
        sweep_connections, sweep_depths, sweep_sizes: where the sweeps stop.
    """

    connections: int
    idle: tuple[int, ...]
    idle_tls: tuple[int, ...]
    sweep_connections: tuple[int, ...]
    sweep_depths: tuple[int, ...]
    sweep_sizes: tuple[int, ...]


FULL = Scale(
    connections=100,
    idle=(1_000, 3_000, 6_000, 9_000, 12_000, 15_000, 18_000),
    idle_tls=(300, 1_000, 3_000),
    sweep_connections=(1, 10, 100, 1_000, 10_000),
    sweep_depths=(1, 4, 16, 64),
    sweep_sizes=(16, 256, 4 << 10, 64 << 10, 1 << 20),
)
TINY = Scale(
    connections=10,
    idle=(50, 200),
    idle_tls=(50, 100),
    sweep_connections=(1, 50),
    sweep_depths=(1, 16),
    sweep_sizes=(16, 64 << 10),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, for how long, and how often. Times are in seconds."""

    servers: tuple[Server, ...]
    parts: tuple[str, ...]
    points: tuple[Point, ...]
    rounds: int
    seconds: float
    warmup: float
    scale: Scale = FULL

    @property
    def attempts(self) -> int:
        """How often to try for a quiet sample: once when all is tiny, and nothing is quoted."""
        return 1 if self.scale is TINY else ATTEMPTS
