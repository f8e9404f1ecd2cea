"""Handlers that may wait: async ones beside streams on the same loop, blocking ones in threads."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import markdown
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import PIPELINED, SMALL, Point
from benchmarks.samples import Sample, Series
from benchmarks.servers import (
    ASYNC_ON_ASYNCIO,
    ASYNC_ON_UVLOOP,
    ASYNCIO_STREAMS,
    BLOCKING,
    UVLOOP_STREAMS,
    Server,
    runnable,
)

NAME = "waiting"
POINTS = (SMALL, PIPELINED)
PAIRS = ((ASYNC_ON_ASYNCIO, ASYNCIO_STREAMS), (ASYNC_ON_UVLOOP, UVLOOP_STREAMS))


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    connections = plan.scale.connections
    for point in POINTS:
        for pair in PAIRS:
            for server in runnable(pair, pair):
                yield Turn(point.name, server, partial(table.measure, connections, point))
    yield Turn(SMALL.name, BLOCKING, partial(table.measure, connections, SMALL))


def rate(server: Server, point: Point) -> Series:
    """Return the series of a server's rates at a point."""
    return Series(NAME, point.name, server)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the ratios, and the rate of blocking handlers."""
    rows = [
        [
            server.label,
            str(point),
            markdown.ratio(rate(server, point).over(rate(base, point), samples)),
            *[markdown.median(rate(each, point).figure(samples)) for each in (server, base)],
        ]
        for server, base in PAIRS
        for point in POINTS
    ]
    blocking = markdown.median(rate(BLOCKING, SMALL).figure(samples))
    rows.append([BLOCKING.label, str(SMALL), markdown.NONE, blocking, markdown.NONE])
    header = ["server", "point", "ratio to streams", "messages/s", "streams' messages/s"]
    text = f"{plan.scale.connections} connections. Streams are those of the same loop."
    return markdown.section("Handlers that wait", text, markdown.table(header, rows))


PART = Part(NAME, all_rounds, turns, report)
