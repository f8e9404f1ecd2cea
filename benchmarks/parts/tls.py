"""Memory of an idle TLS connection."""

from collections.abc import Iterator, Sequence

from benchmarks import markdown
from benchmarks.idlers import TLS
from benchmarks.load import Window
from benchmarks.parts import idle
from benchmarks.parts.part import Part, Turn, Values, few_rounds
from benchmarks.plan import Plan
from benchmarks.process import Running
from benchmarks.samples import Sample, Series
from benchmarks.servers import NATIVE_TLS, PYTHON_TLS, runnable

NAME = "tls"
SERVERS = (NATIVE_TLS, PYTHON_TLS)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round."""

    def measure(server: Running, window: Window) -> Values:
        return idle.memory(server, plan.scale.idle_tls, window.core, TLS)

    for server in runnable(SERVERS, SERVERS):
        yield Turn(idle.CASE, server, measure)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the bytes."""
    text = (
        "Bytes of resident memory for each TLS 1.3 connection that has had one message of 64 B"
        " echoed and idles, by the number of connections: nearly all of it is OpenSSL's."
    )
    counts = plan.scale.idle_tls
    series = [[Series(NAME, idle.CASE, server, str(n)) for n in counts] for server in SERVERS]
    rows = [
        [server.label, *[markdown.whole(each.figure(samples)) for each in row]]
        for server, row in zip(SERVERS, series, strict=True)
    ]
    header = ["server", *(f"{count:,}" for count in counts)]
    return markdown.section("Memory of an idle TLS connection", text, markdown.table(header, rows))


PART = Part(NAME, few_rounds, turns, report)
