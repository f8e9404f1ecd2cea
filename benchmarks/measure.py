"""Turns: in each round every server runs once at each point, so that drift hits all alike."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.load import Load, generate
from benchmarks.machine import cores
from benchmarks.points import POINTS, Point
from benchmarks.process import serving
from benchmarks.servers import SERVERS, Server


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, for how long, and how often. Times are in seconds."""

    servers: tuple[Server, ...]
    rounds: int
    seconds: float
    warmup: float

    def __str__(self) -> str:
        """Return the plan as command-line arguments."""
        text = f"--rounds {self.rounds} --seconds {self.seconds:g} --warmup {self.warmup:g}"
        if self.servers == SERVERS:
            return text
        return f"{text} --only {','.join(server.name for server in self.servers)}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server under one load, in a round counted from 1."""

    round: int
    server: Server
    point: Point
    load: Load


def measure(plan: Plan) -> Iterator[Measurement]:
    """Carry out the plan, A B C A B C at the first point, then at the next, for every round.

    Each measurement gets a fresh process: what a server's heap has become at one point, and a
    memory layout that happened to be a lucky one, stay out of the next.

    Raises:
        BenchmarkError: a server or the load on it failed.
    """
    server_core, load_core = cores()
    for number in range(1, plan.rounds + 1):
        for point in POINTS:
            for server in plan.servers:
                with serving(server, server_core) as port:
                    load = generate(port, point, plan.seconds, plan.warmup, load_core)
                yield Measurement(number, server, point, load)
