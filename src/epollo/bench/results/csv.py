"""The result as CSV: one row for each second, for a spreadsheet, gnuplot or pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import SECOND_HISTOGRAMS, Result, Second
from epollo.cli.files import write_text

_COUNTS = ("sent", "messages", "errors", "outstanding")
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
_FIGURES = ("mean", "p50", "p90", "p99", "p99.9", "max")

COLUMNS = (
    *("time", "start", "seconds", "target", "rate"),
    *_COUNTS,
    *(f"{histogram}_{figure}" for histogram in SECOND_HISTOGRAMS for figure in _FIGURES),
)


def write(path: str, result: Result) -> None:
    """Write ``result`` to ``path``, "-" is stdout. Raises EpolloError if it cannot."""
    write_text(path, text(result))


def text(result: Result) -> str:
    """The rows, below a header row with ``COLUMNS``.

    ``time`` is in seconds since the epoch; all other times are in seconds. A cell is empty if it
    has no value: the target of a closed loop, the latency in a second without messages, a
    percentile beyond the messages of the second.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    for second in result.seconds:
        rows.writerow(_row(second, result.started))
    return table.getvalue().rstrip("\n")


def _row(second: Second, started: float) -> Iterator[object]:
    yield f"{started + second.start:.3f}"
    yield from (second.start, second.seconds, second.target, second.rate)
    yield from (getattr(second, name) for name in _COUNTS)
    for name in SECOND_HISTOGRAMS:
        yield from _figures(getattr(second, name))


def _figures(histogram: Histogram) -> list[float | None]:
    if not histogram.total:
        return [None] * len(_FIGURES)
    times = [histogram.mean, *histogram.known_percentiles(_PERCENTILES)]
    return [None if time is None else round(time / 1e9, 9) for time in times]
