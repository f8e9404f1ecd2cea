"""The result as CSV: one row for each second, for a spreadsheet, gnuplot or pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second
from epollo.cli.files import write_parts

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
    write_parts(path, _parts(result))


def text(result: Result) -> str:
    """The rows, below a header row with ``COLUMNS``.

    ``time`` is in seconds since the epoch; all other times are in seconds. A cell is empty if it
    has no value: the target of a closed loop, the latency in a second without messages, a
    percentile beyond the messages of the second.
    """
    return "".join(_parts(result))


def head() -> str:
    """The header row."""
    return _line(COLUMNS)


def line(second: Second, started: float) -> str:
    """The row of a second of a run that began then."""
    return _line(_row(second, started))


def _parts(result: Result) -> Iterator[str]:
    yield head()
    for second in result.seconds:
        yield f"\n{line(second, result.started)}"


def _line(cells: Iterable[object]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()


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
