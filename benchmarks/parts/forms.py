"""Every form of handler, in turns with the limit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks import compiled, markdown
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import LARGE, PIPELINED, SMALL, Point
from benchmarks.samples import Sample, Series
from benchmarks.servers import FORMS, LIMIT, Server, runnable

NAME = "forms"
POINTS = (SMALL, PIPELINED, LARGE)
SERVERS = (LIMIT, *FORMS, *compiled.SERVERS)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for point in POINTS:
        for server in runnable(SERVERS, SERVERS):
            yield Turn(point.name, server, partial(table.measure, plan.scale.connections, point))


def rate(server: Server, point: Point) -> Series:
    """Return the series of a server's rates at a point."""
    return Series(NAME, point.name, server)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the ratios to the limit, and the CPU time of a message."""
    rows = [
        [
            server.label,
            *(markdown.ratio(rate(server, p).over(rate(LIMIT, p), samples)) for p in POINTS),
            *(
                markdown.ratio(replace(rate(server, p), value="cpu_us").figure(samples))
                for p in POINTS
            ),
        ]
        for server in SERVERS
    ]
    missing = [f"{each.label} ({each.missing})" for each in SERVERS if each.missing]
    text = (
        "Ratio of the rates to the limit, and the server's CPU time for each message in"
        " microseconds. Compiled handlers are those of `examples/compiled`."
    )
    if missing:
        text += f" Not measured: {', '.join(missing)}."
    header = ["handler", *map(str, POINTS), *(f"CPU, {point}" for point in POINTS)]
    return markdown.section("Forms of handler", text, markdown.table(header, rows))


PART = Part(NAME, all_rounds, turns, report)
