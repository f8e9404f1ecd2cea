"""Connections accepted, echoed once and closed."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import load, markdown
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import SMALL
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import (
    ASYNCIO_PROTOCOL,
    LIMIT,
    NATIVE,
    PYTHON,
    UVLOOP_PROTOCOL,
    Server,
    runnable,
)

NAME = "churn"
CASE = "64B"
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL, ASYNCIO_PROTOCOL)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for server in runnable(SERVERS, plan.servers):
        yield Turn(CASE, server, partial(measure, plan.scale.connections))


def measure(connections: int, server: Running, window: Window) -> Values:
    """Measure one server, with so many connections under way at any time."""
    return load.churn(server, connections, SMALL.size, window)


def rate(server: Server) -> Series:
    """Return the series of a server's connections per second."""
    return Series(NAME, CASE, server)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the rates."""
    rows = [
        [
            server.label,
            markdown.ratio(rate(server).over(rate(LIMIT), samples)),
            markdown.whole(rate(server).figure(samples)),
        ]
        for server in SERVERS
        if server in plan.servers
    ]
    text = (
        f"{plan.scale.connections} under way at any time. Each is accepted, has one message of"
        " 64 B echoed, and is ended in order, the client's end first."
    )
    table = markdown.table(["server", f"ratio to {LIMIT.label}", "connections/s"], rows)
    return markdown.section("Connections per second", text, table)


PART = Part(NAME, all_rounds, turns, report)
