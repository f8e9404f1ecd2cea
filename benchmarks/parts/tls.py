"""TLS: the server's CPU time for each message, and the memory of an idle connection."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks import load, markdown
from benchmarks.idlers import TLS
from benchmarks.load import Window
from benchmarks.parts import idle
from benchmarks.parts.part import Part, Turn, Values, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import PIPELINED, SMALL, Point
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import AIOFASTNET_TLS, NATIVE_TLS, PYTHON_TLS, UVLOOP_TLS, Server, runnable

NAME = "tls"
OURS = (NATIVE_TLS, PYTHON_TLS)
SERVERS = (*OURS, AIOFASTNET_TLS, UVLOOP_TLS)
POINTS = (SMALL, PIPELINED)
MEMORY_ROUNDS = 3  # at most


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""
    for point in POINTS:
        for server in runnable(SERVERS, SERVERS):
            yield Turn(point.name, server, partial(echo, plan.scale.connections, point))

    def measure(server: Running, window: Window) -> Values:
        return idle.memory(server, plan.scale.idle_tls, window.core, TLS)

    if number <= MEMORY_ROUNDS:
        for server in runnable(OURS, OURS):
            yield Turn(idle.CASE, server, measure)


def echo(connections: int, point: Point, server: Running, window: Window) -> Values:
    """Measure one server by `epollo bench --tls`, whose own CPU time is not part of the result."""
    tls = ("--tls", "--tls-ca", "any", "--depth", str(point.depth))
    return load.epollo_bench(server, connections, point.size, window, *tls)


def cpu(server: Server, point: Point) -> Series:
    """Return the series of a server's CPU time for each message, in microseconds."""
    return Series(NAME, point.name, server, "cpu_us")


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate both."""
    return "\n\n".join([messages(plan, samples), memory(plan, samples)])


def messages(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the CPU times, and the rates."""
    text = (
        f"{plan.scale.connections} connections of TLS 1.3, loaded by `epollo bench --tls` on one"
        " core. That core may be the limit of the rate, so compare the server's CPU time for each"
        " message. All servers use the same OpenSSL."
    )
    header = ["server"]
    for point in POINTS:
        header += [f"{point}: CPU, µs", "messages/s"]
    rows = []
    for server in runnable(SERVERS, SERVERS):
        row = [server.label]
        for point in POINTS:
            rate = replace(cpu(server, point), value="rate")
            row += [
                markdown.ratio(cpu(server, point).figure(samples)),
                markdown.median(rate.figure(samples)),
            ]
        rows.append(row)
    return markdown.section("TLS", text, markdown.table(header, rows))


def memory(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the bytes."""
    text = (
        "Bytes of resident memory for each TLS 1.3 connection that has had one message of 64 B"
        " echoed and idles, by the number of connections: nearly all of it is OpenSSL's."
    )
    counts = plan.scale.idle_tls
    series = [[Series(NAME, idle.CASE, server, str(n)) for n in counts] for server in OURS]
    rows = [
        [server.label, *[markdown.whole(each.figure(samples)) for each in row]]
        for server, row in zip(OURS, series, strict=True)
    ]
    header = ["server", *(f"{count:,}" for count in counts)]
    return markdown.section("Memory of an idle TLS connection", text, markdown.table(header, rows))


PART = Part(NAME, all_rounds, turns, report)
