"""The result as a `.hlog`: HdrHistogram's log of intervals, format 1.3.

Its readers take one line an interval: an optional tag, the start in seconds from BaseTime, the
length in seconds, the highest value, here in ms, and the histogram
(org.HdrHistogram.HistogramLogWriter).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from epollo.bench.results.result import Result
from epollo.bench.results.second import SECOND_HISTOGRAMS, Second
from epollo.bench.workload import Workload
from epollo.cli.files import write_parts

TAGS = SECOND_HISTOGRAMS
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_UNIT = 1e6  # ns in a ms, the default unit of its tools


def write(path: str, result: Result) -> None:
    """Write ``result`` to ``path``, "-" is stdout. Raises EpolloError if it cannot."""
    write_parts(path, _parts(result))


def text(result: Result) -> str:
    """The log: for each second of the run, one line for each of ``TAGS``; no slip in a closed loop.

    Values are nanoseconds. A line holds the messages that were due in its second.
    """
    return "".join(_parts(result))


def head(workload: Workload, started: float) -> str:
    """The lines before the first second."""
    began = datetime.fromtimestamp(started, UTC)
    lines = [
        "#[Histogram log format version 1.3]",
        f"#[epollo bench {workload.address}, values in ns]",
        f"#[BaseTime: {started:.3f} (seconds since epoch)]",
        f"#[StartTime: {started:.3f} (seconds since epoch), {began:%Y-%m-%dT%H:%M:%SZ}]",
        _LEGEND,
    ]
    return "\n".join(lines)


def lines(second: Second, open_loop: bool) -> str:
    """The lines of a second."""
    return "\n".join(_line(second, tag) for tag in (TAGS if open_loop else TAGS[:-1]))


def _parts(result: Result) -> Iterator[str]:
    yield head(result.workload, result.started)
    for second in result.seconds:
        yield f"\n{lines(second, result.workload.open_loop)}"


def _line(second: Second, tag: str) -> str:
    histogram = getattr(second, tag)
    highest = histogram.maximum / _UNIT
    times = f"{second.start:.3f},{second.seconds:.3f},{highest:.3f}"
    return f"Tag={tag},{times},{histogram.encode()}"
