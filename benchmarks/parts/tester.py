"""The load tester beside a load generator in C, both against the C server."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import load, markdown
from benchmarks.load import Window
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import PIPELINED, SMALL, Point
from benchmarks.process import Running
from benchmarks.samples import Figure, Sample, Series
from benchmarks.servers import LIMIT, NATIVE, Server, runnable

NAME = "tester"
POINTS = (SMALL, PIPELINED)
C, EPOLLO = "C", "epollo bench"
RATE = 50_000  # messages a second of the open loop
SERVERS = (LIMIT, NATIVE)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round: which of the two comes first alternates."""
    connections = plan.scale.connections
    for point in POINTS:
        pair = [
            Turn(closed_case(C, point), LIMIT, partial(table.measure, connections, point)),
            Turn(closed_case(EPOLLO, point), LIMIT, partial(closed_loop, connections, point)),
        ]
        yield from pair if number % 2 else reversed(pair)
    for server in runnable(SERVERS, plan.servers):
        yield Turn("open", server, partial(open_loop, connections))


def closed_loop(connections: int, point: Point, server: Running, window: Window) -> Values:
    """Measure one server by `epollo bench`, at one point."""
    return load.epollo_bench(server, connections, point.size, window, "--depth", str(point.depth))


def open_loop(connections: int, server: Running, window: Window) -> Values:
    """Send to one server by the clock."""
    return load.epollo_bench(server, connections, SMALL.size, window, "--rate", str(RATE))


def closed_case(tester: str, point: Point) -> str:
    """Return the name of the case of a point measured by one of the two."""
    return f"{tester}, {point.name}"


def ratio(point: Point, samples: Sequence[Sample]) -> Figure | None:
    """Return the ratio of the rates that the two reach."""
    return rate(EPOLLO, point).over(rate(C, point), samples)


def rate(tester: str, point: Point) -> Series:
    """Return the series of the rates that one of the two reaches at a point."""
    return Series(NAME, closed_case(tester, point), LIMIT)


def late(server: Server) -> Series:
    """Return the series of the parts of the messages that were sent late to a server."""
    return Series(NAME, "open", server, "late_percent")


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the ratios, and the lateness."""
    closed = markdown.table(
        ["closed loop", "ratio to a load generator in C", "messages/s", "in C"],
        [
            [
                str(point),
                markdown.ratio(ratio(point, samples), 3),
                *[markdown.median(rate(each, point).figure(samples)) for each in (EPOLLO, C)],
            ]
            for point in POINTS
        ],
    )
    sent = markdown.table(
        [f"open loop, {RATE:,} messages/s", "sent over 1 ms late, %", "slip p99.9, µs"],
        [
            [
                server.label,
                markdown.ratio(late(server).figure(samples), 3),
                markdown.whole(Series(NAME, "open", server, "slip_p999_us").figure(samples)),
            ]
            for server in SERVERS
            if server in plan.servers
        ],
    )
    text = (
        f"`epollo bench` on one core, {plan.scale.connections} connections, 64 B. The closed loop"
        " is against the C server, in turns with the load generator of the other tables."
    )
    return markdown.section("The load tester", text, closed, sent)


PART = Part(NAME, all_rounds, turns, report)
