"""Throughput beside idle connections, as a ratio to the same without them."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import load, markdown
from benchmarks.idlers import idlers
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import SMALL
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL, Server, runnable

NAME = "beside"
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round: a server with and without, one after the other, and which of
    them comes first alternates."""
    counts = (0, plan.scale.idle[-1])
    for server in runnable(SERVERS, plan.servers):
        for idle in counts if number % 2 else reversed(counts):
            yield Turn(case(idle), server, partial(measure, plan.scale.connections, idle))


def measure(connections: int, idle: int, server: Running, window: Window) -> Values:
    """Measure one server beside so many idle connections."""
    with idlers(server.port, window.core) as others:
        others.grow(idle)
        return load.closed_loop(server, connections, 1, SMALL.size, window)


def case(idle: int) -> str:
    """Return the name of the case of so many idle connections."""
    return f"idle={idle}"


def rate(server: Server, idle: int) -> Series:
    """Return the series of a server's rates beside so many idle connections."""
    return Series(NAME, case(idle), server)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the ratios."""
    idle = plan.scale.idle[-1]
    rows = [
        [
            server.label,
            markdown.ratio(rate(server, idle).over(rate(server, 0), samples)),
            *[markdown.median(rate(server, n).figure(samples)) for n in (0, idle)],
        ]
        for server in SERVERS
        if server in plan.servers
    ]
    header = ["server", "ratio", "messages/s without", "messages/s with"]
    heading = f"{plan.scale.connections} busy connections beside {idle:,} idle ones"
    return markdown.section(heading, "Depth 1, 64 B.", markdown.table(header, rows))


PART = Part(NAME, all_rounds, turns, report)
