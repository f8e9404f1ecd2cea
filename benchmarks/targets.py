"""What epollo sets out to reach. The median decides; nothing fails by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import compiled, markdown
from benchmarks.parts import (
    beside,
    churn,
    forms,
    idle,
    limits,
    open_loop,
    table,
    tester,
    tls,
    waiting,
)
from benchmarks.plan import FULL
from benchmarks.points import HUGE, LARGE, PIPELINED, SMALL, Point
from benchmarks.samples import Figure, Sample, Series
from benchmarks.servers import (
    AIOFASTNET_TLS,
    ASYNCIO_STREAMS,
    BLOCKING,
    FORMS,
    LIMIT,
    LIMITED,
    NATIVE,
    NATIVE_TLS,
    PYTHON,
    UNLIMITED,
    UVLOOP_PROTOCOL,
    UVLOOP_TUNED,
    Server,
)

MANY = FULL.idle[-1]

PROTOCOLS = (UVLOOP_PROTOCOL, UVLOOP_TUNED)
"""What most users of uvloop have, and the best that they could."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound of a median: of a ratio to the base, where there is one.

    Attributes:
        bound: the least that will do, or the most where `most` is set.
    """

    text: str
    series: Series
    base: Series | None
    bound: float
    most: bool = False
    unit: str = "B"  # of a bound that is no ratio

    def measured(self, samples: Sequence[Sample]) -> Figure | None:
        """Return the figure, or None when it was not measured."""
        if self.base is None:
            return self.series.figure(samples)
        return self.series.over(self.base, samples)

    def met(self, figure: Figure) -> bool:
        """Does the median keep the bound?"""
        return figure.median <= self.bound if self.most else figure.median >= self.bound

    def row(self, samples: Sequence[Sample]) -> list[str]:
        """Return the target, what was measured and the verdict as cells."""
        ratio = self.base is not None
        bound = f"{'at most' if self.most else 'at least'} " + (
            f"{self.bound:.2f}" if ratio else f"{self.bound:,g} {self.unit}"
        )
        figure = self.measured(samples)
        if figure is None:
            return [self.text, bound, markdown.NONE, "not measured"]
        exact = ratio or self.bound < 1
        cell = markdown.ratio(figure, 3) if exact else markdown.whole(figure)
        return [self.text, bound, cell, "met" if self.met(figure) else "NOT met"]


def at_point(server: Server, point: Point, base: Server, bound: float) -> Target:
    """Make the target of a ratio of rates at a point."""
    return Target(
        f"{server.label}: {point}, to {base.label}",
        table.rate(server, point),
        table.rate(base, point),
        bound,
    )


def tail(value: str, rate: open_loop.Rate, base: Server, bound: float) -> Target:
    """Make the target of a ratio of latencies: of "p99" or "p99.9"."""
    column = open_loop.COLUMNS[value]
    return Target(
        f"{NATIVE.label}: {value} at {rate}, to {base.label}",
        open_loop.latency(NATIVE, rate, column),
        open_loop.latency(base, rate, column),
        bound,
        most=True,
    )


def memory(server: Server, bound: float) -> Target:
    """Make the target of an idle connection's memory."""
    series = idle.per_connection(server, MANY)
    text = f"{server.label}: memory of an idle connection, at {MANY:,}"
    return Target(text, series, None, bound, most=True)


def beside_idle(server: Server, bound: float) -> Target:
    """Make the target of the throughput beside idle connections."""
    text = f"{server.label}: throughput beside {MANY:,} idle connections, to without"
    return Target(text, beside.rate(server, MANY), beside.rate(server, 0), bound)


def of_form(server: Server, point: Point, bound: float) -> Target:
    """Make the target of a form of handler: of the limit, at a point."""
    text = f"{server.label}: {point}, to {LIMIT.label}"
    return Target(text, forms.rate(server, point), forms.rate(LIMIT, point), bound)


NATIVE_FORMS = FORMS[:2]

TARGETS = (
    *(of_form(server, SMALL, 1.00) for server in NATIVE_FORMS),
    *(of_form(server, PIPELINED, 0.95) for server in NATIVE_FORMS),
    *(of_form(server, LARGE, 0.95) for server in NATIVE_FORMS),
    of_form(compiled.CYTHON, PIPELINED, 1.00),
    at_point(NATIVE, SMALL, LIMIT, 1.00),
    *(at_point(NATIVE, SMALL, peer, 1.4) for peer in PROTOCOLS),
    at_point(NATIVE, PIPELINED, LIMIT, 0.95),
    *(at_point(NATIVE, PIPELINED, peer, 2.7) for peer in PROTOCOLS),
    at_point(NATIVE, PIPELINED, ASYNCIO_STREAMS, 20),
    at_point(NATIVE, LARGE, LIMIT, 0.95),
    at_point(NATIVE, HUGE, LIMIT, 0.95),
    tail("p99", open_loop.HALF, UVLOOP_PROTOCOL, 1.0),
    *(
        tail(value, rate, LIMIT, 1.1)
        for rate in (open_loop.HALF_OF_C, open_loop.MOST_OF_C)
        for value in ("p99", "p99.9")
    ),
    *(at_point(PYTHON, SMALL, peer, 1.0) for peer in PROTOCOLS),
    *(at_point(PYTHON, PIPELINED, peer, 1.0) for peer in PROTOCOLS),
    *(
        Target(
            f"{server.label}: {point}, to {base.label}",
            waiting.rate(server, point),
            waiting.rate(base, point),
            2,
        )
        for server, base in waiting.PAIRS
        for point in waiting.POINTS
    ),
    *(
        Target(
            f"{engine.label}: {point}, every limit on, to none",
            limits.rate(LIMITED[engine], point),
            limits.rate(UNLIMITED[engine], point),
            0.97,
        )
        for engine in limits.ENGINES
        for point in limits.POINTS
    ),
    *(
        Target(
            f"{NATIVE_TLS.label}: CPU of a message, {point}, to {AIOFASTNET_TLS.label}",
            tls.cpu(NATIVE_TLS, point),
            tls.cpu(AIOFASTNET_TLS, point),
            1.0,
            most=True,
        )
        for point in tls.POINTS
    ),
    Target(BLOCKING.label, waiting.rate(BLOCKING, SMALL), None, 6000, unit="messages/s"),
    memory(NATIVE, 240),
    memory(PYTHON, 700),
    beside_idle(NATIVE, 0.95),
    beside_idle(PYTHON, 0.95),
    Target(
        f"{NATIVE.label}: connections per second, to {LIMIT.label}",
        churn.rate(NATIVE),
        churn.rate(LIMIT),
        0.95,
    ),
    *(
        Target(
            f"epollo bench: {point}, against the C server, to a load generator in C",
            tester.rate(tester.EPOLLO, point),
            tester.rate(tester.C, point),
            0.95,
        )
        for point in tester.POINTS
    ),
    *(
        Target(
            f"epollo bench: sent over 1 ms late at {tester.RATE:,}/s, {server.label}",
            tester.late(server),
            None,
            0.1,
            most=True,
            unit="%",
        )
        for server in tester.SERVERS
    ),
)


def report(samples: Sequence[Sample]) -> str:
    """Tabulate the targets beside what was measured."""
    rows = [target.row(samples) for target in TARGETS]
    table = markdown.table(["target", "bound", "measured", "verdict"], rows)
    return markdown.section("Targets", table)
