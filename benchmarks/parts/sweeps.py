"""Sweeps: throughput as one thing grows and the others stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import load, markdown
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, few_rounds
from benchmarks.plan import Plan
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import (
    ASYNCIO_STREAMS,
    LIMIT,
    NATIVE,
    PYTHON,
    UVLOOP_PROTOCOL,
    Server,
    runnable,
)
from epollo.units import format_size

NAME = "sweeps"
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL, ASYNCIO_STREAMS)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One thing that grows, through the `stops`; sizes are in bytes."""

    name: str
    stops: tuple[int, ...]
    connections: int
    depth: int = 1
    size: int = 64

    @property
    def others(self) -> str:
        """Say what stays."""
        texts = {
            "connections": f"{self.connections} connections",
            "depth": f"depth {self.depth}",
            "size": f"messages of {format_size(self.size)}",
        }
        return ", ".join(text for name, text in texts.items() if name != self.name)

    def measure(self, stop: int, server: Running, window: Window) -> Values:
        """Measure one server at one stop."""
        load_shape = {"connections": self.connections, "depth": self.depth, "size": self.size}
        return load.closed_loop(server, **load_shape | {self.name: stop}, window=window)

    def rate(self, server: Server, stop: int) -> Series:
        """Return the series of a server's rates at a stop."""
        return Series(NAME, f"{self.name}={stop}", server)

    def label(self, stop: int) -> str:
        """Return a stop as people write it."""
        return format_size(stop) if self.name == "size" else f"{stop:,}"


def sweeps(plan: Plan) -> tuple[Sweep, ...]:
    """Return the three sweeps."""
    scale = plan.scale
    return (
        Sweep("connections", scale.sweep_connections, scale.connections),
        Sweep("depth", scale.sweep_depths, scale.connections),
        Sweep("size", scale.sweep_sizes, scale.connections),
    )


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for sweep in sweeps(plan):
        for stop in sweep.stops:
            for server in runnable(SERVERS, plan.servers):
                yield Turn(f"{sweep.name}={stop}", server, partial(sweep.measure, stop))


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the rates, a table for each sweep."""
    return "\n\n".join(tabulate(plan, sweep, samples) for sweep in sweeps(plan))


def tabulate(plan: Plan, sweep: Sweep, samples: Sequence[Sample]) -> str:
    """Tabulate the rates of one sweep."""
    rows = [
        [s.label, *[markdown.median(sweep.rate(s, n).figure(samples)) for n in sweep.stops]]
        for s in SERVERS
        if s in plan.servers
    ]
    heading = f"Messages per second by {sweep.name}: {sweep.others}"
    header = ["server", *map(sweep.label, sweep.stops)]
    return markdown.section(heading, markdown.table(header, rows))


PART = Part(NAME, few_rounds, turns, report)
