"""Memory: what an idle connection costs a server."""

import time
from collections.abc import Iterator, Sequence

from benchmarks import markdown
from benchmarks.idlers import PLAIN, idlers
from benchmarks.load import Window
from benchmarks.parts.part import Part, Turn, Values, few_rounds
from benchmarks.plan import Plan
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import (
    ASYNCIO_PROTOCOL,
    LIMIT,
    NATIVE,
    PYTHON,
    UVLOOP_PROTOCOL,
    UVLOOP_STREAMS,
    Server,
    runnable,
)

NAME = "idle"
CASE = "memory"
SERVERS = (LIMIT, NATIVE, PYTHON, UVLOOP_PROTOCOL, UVLOOP_STREAMS, ASYNCIO_PROTOCOL)
FIRST = 100  # connections before the base is read: what a server allocates once is there by then
SETTLING = 0.1  # seconds


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""

    def measure(server: Running, window: Window) -> Values:
        return memory(server, plan.scale.idle, window.core)

    for server in runnable(SERVERS, plan.servers):
        yield Turn(CASE, server, measure)


def memory(
    server: Running, counts: Sequence[int], core: int, program: Sequence[str] = PLAIN
) -> Values:
    """Return the bytes that each connection beyond the first ones took, by their number."""
    values: Values = {}
    first = min(FIRST, counts[0] // 2)
    with idlers(server.port, core, program) as connections:
        connections.grow(first)
        base = settled(server)
        values["base"] = base
        for count in counts:
            connections.grow(count)
            values[str(count)] = (settled(server) - base) / (count - first)
    return values


def settled(server: Running) -> int:
    """Return the server's memory, once it has done what it does after a reply."""
    time.sleep(SETTLING)
    return server.memory


def per_connection(server: Server, count: int) -> Series:
    """Return the series of the bytes that a server takes for each of so many connections."""
    return Series(NAME, CASE, server, str(count))


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the bytes."""
    text = (
        "Bytes of resident memory for each connection that has had one message of 64 B echoed and"
        " idles, by the number of connections. What the kernel takes is not in it."
    )
    counts = plan.scale.idle
    rows = [
        [s.label, *[markdown.whole(per_connection(s, n).figure(samples)) for n in counts]]
        for s in SERVERS
        if s in plan.servers
    ]
    header = ["server", *(f"{count:,}" for count in counts)]
    return markdown.section("Memory of an idle connection", text, markdown.table(header, rows))


PART = Part(NAME, few_rounds, turns, report)
