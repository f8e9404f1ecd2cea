"""The table: every server at every point, A B C at the first, then at the next."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks import load, markdown
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import Point
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import LIMIT, UVLOOP_PROTOCOL, Server, runnable

NAME = "table"


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for point in plan.points:
        for server in runnable(plan.servers):
            yield Turn(point.name, server, partial(measure, plan.scale.connections, point))


def measure(connections: int, point: Point, server: Running, window: Window) -> Values:
    """Measure one server at one point."""
    return load.closed_loop(server, connections, point.depth, point.size, window)


def rate(server: Server, point: Point) -> Series:
    """Return the series of a server's rates at a point."""
    return Series(NAME, point.name, server)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Return ratios to the limit and to uvloop, and the rates."""
    bases = [base for base in (LIMIT, UVLOOP_PROTOCOL) if base in plan.servers]
    return "\n\n".join(
        [
            *(ratios(plan, samples, base) for base in bases),
            markdown.section("Messages per second", rates(plan, samples)),
            markdown.section("The server's CPU time for each message, µs", costs(plan, samples)),
        ]
    )


def ratios(plan: Plan, samples: Sequence[Sample], base: Server) -> str:
    """Tabulate the other servers' ratios to the base."""
    rows = [
        [
            server.label,
            *[markdown.ratio(rate(server, p).over(rate(base, p), samples)) for p in plan.points],
        ]
        for server in plan.servers
        if server != base
    ]
    table = markdown.table(["server", *map(str, plan.points)], rows)
    return markdown.section(f"Ratio to {base.label}", table)


def rates(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the servers' median rates."""
    rows = [
        [s.label, *[markdown.median(rate(s, p).figure(samples)) for p in plan.points]]
        for s in plan.servers
    ]
    return markdown.table(["server", *map(str, plan.points)], rows)


def costs(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the servers' CPU time for each message."""
    rows = [
        [
            server.label,
            *[
                markdown.ratio(replace(rate(server, point), value="cpu_us").figure(samples))
                for point in plan.points
            ],
        ]
        for server in plan.servers
    ]
    return markdown.table(["server", *map(str, plan.points)], rows)


PART = Part(NAME, all_rounds, turns, report)
