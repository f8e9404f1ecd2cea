"""The open loop: latencies at half of uvloop's top rate, from the time that was planned."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import load, markdown
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import SMALL
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL, Server, runnable

NAME = "open"
TOP, HALF = "top", "half"
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL)
COLUMNS = {
    "p50": "p50_us",
    "p99": "p99_us",
    "p99.9": "p999_us",
    "highest": "max_us",
    "sent late, p99.9": "slip_p999_us",
}


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round. uvloop's top rate is found anew in each, for it drifts; it is
    found whether uvloop is to be measured or not."""
    top: Values = {}
    connections = plan.scale.connections
    yield Turn(TOP, UVLOOP_PROTOCOL, partial(find_top, connections, top))
    for server in runnable(SERVERS, plan.servers):
        yield Turn(HALF, server, partial(measure, connections, top["rate"] / 2))


def find_top(connections: int, top: Values, server: Running, window: Window) -> Values:
    """Measure the rate of a closed loop at depth 1, and leave it in `top`."""
    top.update(load.closed_loop(server, connections, 1, SMALL.size, window))
    return top


def measure(connections: int, rate: float, server: Running, window: Window) -> Values:
    """Measure one server at the rate."""
    return load.open_loop(server, connections, rate, SMALL.size, window)


def p99(server: Server) -> Series:
    """Return the series of a server's latencies at the 99th percentile."""
    return Series(NAME, HALF, server, "p99_us")


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the latencies."""
    rows = [
        [server.label, *[cell(server, value, samples) for value in COLUMNS.values()]]
        for server in SERVERS
        if server in plan.servers
    ]
    rate = markdown.whole(Series(NAME, HALF, LIMIT).figure(samples))
    text = (
        f"Microseconds from the planned send to the whole reply, {plan.scale.connections}"
        f" connections, 64 B, {rate} messages a second in all: half of what uvloop Protocol"
        " reached in a closed loop in the same round. The last column is by how much the load"
        " generator itself was late, which is in all the others."
    )
    heading = "Latency at half of uvloop's top rate, open loop"
    return markdown.section(heading, text, markdown.table(["server", *COLUMNS], rows))


def cell(server: Server, value: str, samples: Sequence[Sample]) -> str:
    """Format one latency."""
    return markdown.whole(Series(NAME, HALF, server, value).figure(samples))


PART = Part(NAME, all_rounds, turns, report)
