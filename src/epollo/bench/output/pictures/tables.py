"""The figures of one or several results as tables of text, for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epollo.bench.compare.letters import letter
from epollo.bench.compare.ratios import Change, Comparison, Row
from epollo.bench.compare.text import figure, interval
from epollo.bench.output.wording import (
    arrival,
    fairness,
    figure_ns,
    floor,
    histograms,
    named,
    percentiles_ns,
    spread,
    tester,
)
from epollo.bench.results.culprit_words import parts
from epollo.bench.results.result import PERCENTILES, Result
from epollo.bench.results.second import Second
from epollo.units import UNKNOWN, format_seconds, format_size


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header; the first column names the row. ``figures``: the others are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: bool = True


def latencies(results: Sequence[Result]) -> Table:
    """Mean, deviation, minimum, maximum and percentiles: of one run's three histograms, or of the
    response times of several runs."""
    if len(results) > 1:
        columns = [(letter(n), result.response) for n, result in enumerate(results)]
    else:
        columns = list(histograms(results[0]))
    spans = [histogram for _, histogram in columns]
    rows = [
        ["mean", *(_unbroken(figure_ns(span, "mean")) for span in spans)],
        ["standard deviation", *(_unbroken(figure_ns(span, "deviation")) for span in spans)],
        ["minimum", *(_unbroken(figure_ns(span, "minimum")) for span in spans)],
    ]
    values = zip(*(percentiles_ns(span, PERCENTILES) for span in spans), strict=True)
    for percent, row in zip(PERCENTILES, values, strict=True):
        name = "maximum" if percent == 100 else f"{percent:g} %"
        rows.append([name, *map(_unbroken, row)])
    return Table(["", *(name for name, _ in columns)], rows)


def amounts(results: Sequence[Result]) -> Table:
    """Messages, bytes, rates, connections and fairness."""
    rows = [[name, *map(words, results)] for name, words in _AMOUNTS]
    known = [row for row in rows if any(row[1:])]
    head = ["", *(letter(n) for n in range(len(results)))] if len(results) > 1 else []
    return Table(head, known, figures=False)


def errors(results: Sequence[Result]) -> Table:
    """The count of each kind of error, the most frequent first."""
    kinds = {kind for result in results for kind in result.errors}
    counts = {kind: [result.errors.get(kind, 0) for result in results] for kind in kinds}
    rows = [
        [named(kind), *(f"{count:,}" for count in counts[kind])]
        for kind in sorted(kinds, key=lambda kind: (-sum(counts[kind]), kind))
    ]
    names = [letter(n) for n in range(len(results))] if len(results) > 1 else ["count"]
    return Table(["", *names], rows)


def seconds(result: Result) -> Table:
    """The window, second by second."""
    has_target = result.target is not None
    head = ["second", "target", "sent", "answered", "errors", "outstanding"]
    head += ["p50", "p90", "p99", "max"]
    rows = [_second(second) for second in result.seconds]
    if not has_target:
        head, rows = head[:1] + head[2:], [row[:1] + row[2:] for row in rows]
    return Table(head, rows)


def compared(comparison: Comparison) -> Table:
    """Each figure of all runs, and its ratio to the first with the interval."""
    first, *others = comparison.names
    head = ["", first, *(cell for name in others for cell in (name, f"{name} / {first}"))]
    return Table(head, [_compared(row) for row in comparison.rows])


def _compared(row: Row) -> list[str]:
    first, *others = (figure(value, row.unit) for value in row.values)
    cells = [row.name, first]
    for value, change in zip(others, row.changes, strict=True):
        cells += [value, _change(change)]
    return cells


def _change(change: Change) -> str:
    if change.ratio is None or change.low is None:
        return change.verdict
    return f"{change.ratio:.3f} ({interval(change)}), {change.verdict}"


def _second(second: Second) -> list[str]:
    spans = ["", "", "", ""]
    if second.response.total:
        shown = percentiles_ns(second.response, (50.0, 90.0, 99.0, 100.0))
        spans = [_unbroken(span) for span in shown]
    counts = (second.sent, second.messages, second.errors, second.outstanding)
    target = "" if second.target is None else f"{second.target:,.0f}"
    return [f"{second.start:g}", target, *(f"{count:,}" for count in counts), *spans]


def _messages(result: Result) -> str:
    return f"{result.messages:,} answered correctly, of {result.sent:,} sent"


def _rate(result: Result) -> str:
    target = "" if result.target is None else f", of {result.target:,.0f} wanted"
    rate = f"{result.rate:,.0f}" if result.elapsed else UNKNOWN
    return f"{rate} messages a second{target}"


def _window(result: Result) -> str:
    return f"{format_seconds(result.elapsed)}{', ended early' if result.interrupted else ''}"


def _bytes(count: int, rate: float) -> str:
    return f"{format_size(count)}, {format_size(rate)}/s" if rate else format_size(count)


def _late(result: Result) -> str:
    return f"{100 * result.late:.3g} % sent over 1 ms late" if result.slip.total else ""


def _connections(result: Result) -> str:
    lost = f", {result.lost:,} lost" if result.lost else ""
    return f"{result.connect.total:,} opened, of {len(result.answered):,}{lost}"


_AMOUNTS: Sequence[tuple[str, Callable[[Result], str]]] = (
    ("Window", _window),
    ("Messages", _messages),
    ("Rate", _rate),
    ("On time", _late),
    ("Tester", tester),
    ("Arrival", arrival),
    ("Response time", parts),
    ("Tester's floor", floor),
    (
        "Outstanding",
        lambda result: f"{result.concurrency:,.1f} messages on average" if result.elapsed else "",
    ),
    ("Bytes sent", lambda result: _bytes(result.bytes_sent, result.byte_rates[0])),
    ("Bytes received", lambda result: _bytes(result.bytes_received, result.byte_rates[1])),
    ("Connections", _connections),
    ("Time to connect", lambda result: spread(result.connect)),
    ("First reply", lambda result: spread(result.first_reply)),
    ("Fairness", fairness),
)


def _unbroken(time: str) -> str:
    return time.replace(" ", "\N{NO-BREAK SPACE}")
