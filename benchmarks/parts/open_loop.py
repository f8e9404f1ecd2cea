"""The open loop: latencies at shares of a top rate, from the time that was planned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
TOP = "top"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of what a server reaches in a closed loop at depth 1, in the same round."""

    name: str
    share: float
    of: Server

    def __str__(self) -> str:
        return f"{self.share:.0%} of the top rate of {self.of.label}"


HALF = Rate("half", 0.5, UVLOOP_PROTOCOL)
HALF_OF_C = Rate("half of C", 0.5, LIMIT)
MOST_OF_C = Rate("80 % of C", 0.8, LIMIT)
RATES = (HALF, HALF_OF_C, MOST_OF_C)
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL)
COLUMNS = {
    "p50": "p50_us",
    "p99": "p99_us",
    "p99.9": "p999_us",
    "highest": "max_us",
    "sent late, p99.9": "slip_p999_us",
}


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round. The top rates are found anew in each, for they drift; they are
    found whether their servers are to be measured or not."""
    tops: dict[Server, Values] = {UVLOOP_PROTOCOL: {}, LIMIT: {}}
    connections = plan.scale.connections
    for server, top in tops.items():
        yield Turn(TOP, server, partial(find_top, connections, top))
    for rate in RATES:
        wanted = tops[rate.of]["rate"] * rate.share
        for server in runnable(SERVERS, plan.servers):
            yield Turn(rate.name, server, partial(measure, connections, wanted))


def find_top(connections: int, top: Values, server: Running, window: Window) -> Values:
    """Measure the rate of a closed loop at depth 1, and leave it in `top`."""
    top.update(load.closed_loop(server, connections, 1, SMALL.size, window))
    return top


def measure(connections: int, rate: float, server: Running, window: Window) -> Values:
    """Measure one server at the rate."""
    return load.open_loop(server, connections, rate, SMALL.size, window)


def latency(server: Server, rate: Rate, value: str) -> Series:
    """Return the series of a server's latencies: "p99_us" or "p999_us"."""
    return Series(NAME, rate.name, server, value)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the latencies."""
    return "\n\n".join(section(plan, rate, samples) for rate in RATES)


def section(plan: Plan, rate: Rate, samples: Sequence[Sample]) -> str:
    """Tabulate those at one rate."""
    rows = [
        [server.label, *[cell(server, rate, value, samples) for value in COLUMNS.values()]]
        for server in SERVERS
        if server in plan.servers
    ]
    number = markdown.whole(Series(NAME, rate.name, LIMIT).figure(samples))
    text = (
        f"Microseconds from the planned send to the whole reply, {plan.scale.connections}"
        f" connections, 64 B, {number} messages a second in all: {rate} in a closed loop in the"
        " same round. The last column is by how much the load generator itself was late, which is"
        " in all the others."
    )
    heading = f"Latency at {rate}, open loop"
    return markdown.section(heading, text, markdown.table(["server", *COLUMNS], rows))


def cell(server: Server, rate: Rate, value: str, samples: Sequence[Sample]) -> str:
    """Format one latency."""
    return markdown.whole(latency(server, rate, value).figure(samples))


PART = Part(NAME, all_rounds, turns, report)
