"""What the limits cost: throughput with every one of them on, to that with none."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import markdown
from benchmarks.parts import table
from benchmarks.parts.part import Part, Turn, all_rounds
from benchmarks.plan import Plan
from benchmarks.points import PIPELINED, SMALL, Point
from benchmarks.samples import Figure, Sample, Series
from benchmarks.servers import LIMITED, NATIVE, PYTHON, UNLIMITED, Server, runnable

NAME = "limits"
ENGINES = (NATIVE, PYTHON)
POINTS = (SMALL, PIPELINED)


def turns(plan: Plan, number: int) -> Iterator[Turn]:
    """Yield the turns of a round: with and without, one after the other, and which of them comes
    first alternates."""
    for point in POINTS:
        for engine in ENGINES:
            pair = (LIMITED[engine], UNLIMITED[engine])
            for server in runnable(pair if number % 2 else pair[::-1], pair):
                yield Turn(
                    point.name, server, partial(table.measure, plan.scale.connections, point)
                )


def rate(server: Server, point: Point) -> Series:
    """Return the series of a server's rates at a point."""
    return Series(NAME, point.name, server)


def cost(engine: Server, point: Point, samples: Sequence[Sample]) -> Figure | None:
    """Return the ratio of the rates with the limits and without."""
    return rate(LIMITED[engine], point).over(rate(UNLIMITED[engine], point), samples)


def report(plan: Plan, samples: Sequence[Sample]) -> str:
    """Tabulate the ratios."""
    rows = [
        [
            engine.label,
            str(point),
            markdown.ratio(cost(engine, point, samples), 3),
            *[
                markdown.median(rate(each[engine], point).figure(samples))
                for each in (LIMITED, UNLIMITED)
            ],
        ]
        for engine in ENGINES
        for point in POINTS
    ]
    header = ["server", "point", "ratio", "messages/s with", "messages/s without"]
    text = (
        "With `--max-connections`, `--max-per-ip`, every timeout and the warning about slow"
        " handlers, to none of them. The bounds of memory have no off."
    )
    return markdown.section("What the limits cost", text, markdown.table(header, rows))


PART = Part(NAME, all_rounds, turns, report)
