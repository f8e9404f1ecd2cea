"""Markdown tables of the figures."""

from collections.abc import Callable, Sequence

from benchmarks.figures import Figure, figure, rates, ratios
from benchmarks.measure import Measurement
from benchmarks.points import POINTS, Point
from benchmarks.servers import Server
from benchmarks.targets import TARGETS, Target


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def ratio_table(
    measurements: Sequence[Measurement], servers: Sequence[Server], base: Server
) -> str:
    """Tabulate the other servers' ratios to the base."""
    others = [server for server in servers if server != base]
    return server_table(
        others, lambda server, point: ratio(figure(ratios(measurements, server, base, point)))
    )


def rate_table(measurements: Sequence[Measurement], servers: Sequence[Server]) -> str:
    """Tabulate the servers' median rates, in messages per second."""
    return server_table(
        servers, lambda server, point: f"{figure(rates(measurements, server, point)).median:,.0f}"
    )


def server_table(servers: Sequence[Server], cell: Callable[[Server, Point], str]) -> str:
    """Tabulate a cell for each server, down, and each point, across."""
    rows = [[server.label, *[cell(server, point) for point in POINTS]] for server in servers]
    return table(["server", *map(str, POINTS)], rows)


def target_table(measurements: Sequence[Measurement]) -> str:
    """Tabulate the targets beside what was measured."""
    rows = [target_row(target, target.measured(measurements)) for target in TARGETS]
    return table(["target", "at least", "measured", "verdict"], rows)


def target_row(target: Target, measured: Figure | None) -> list[str]:
    """Return the cells of one target; its median decides."""
    least = f"{target.least:.2f}"
    if measured is None:
        return [target.text, least, "-", "not measured"]
    verdict = "met" if measured.median >= target.least else "NOT met"
    return [target.text, least, ratio(measured), verdict]


def ratio(value: Figure) -> str:
    """Format a ratio with its spread."""
    return f"{value.median:.2f} ({value.lowest:.2f}-{value.highest:.2f})"
