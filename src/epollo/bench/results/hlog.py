"""The result as a `.hlog`: HdrHistogram's log of intervals, format 1.3.

Its readers take one line an interval: an optional tag, the start in seconds from BaseTime, the
length in seconds, the highest value, here in ms, and the histogram
(org.HdrHistogram.HistogramLogWriter).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from epollo.bench.results.result import SECOND_HISTOGRAMS, Result, Second
from epollo.cli.files import write_text

TAGS = SECOND_HISTOGRAMS
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_UNIT = 1e6  # ns in a ms, the default unit of its tools


def write(path: str, result: Result) -> None:
    """Write ``result`` to ``path``, "-" is stdout. Raises EpolloError if it cannot."""
    write_text(path, text(result))


def text(result: Result) -> str:
    """The log: for each second of the run, one line for each of ``TAGS``; no slip in a closed loop.

    Values are nanoseconds. A line holds the messages that were due in its second.
    """
    tags = TAGS if result.workload.open_loop else TAGS[:-1]
    lines = [*_head(result), _LEGEND]
    for second in result.seconds:
        lines += [_line(second, tag) for tag in tags]
    return "\n".join(lines)


def _head(result: Result) -> Iterator[str]:
    began = datetime.fromtimestamp(result.started, UTC)
    yield "#[Histogram log format version 1.3]"
    yield f"#[epollo bench {result.workload.address}, values in ns]"
    yield f"#[BaseTime: {result.started:.3f} (seconds since epoch)]"
    yield f"#[StartTime: {result.started:.3f} (seconds since epoch), {began:%Y-%m-%dT%H:%M:%SZ}]"


def _line(second: Second, tag: str) -> str:
    histogram = getattr(second, tag)
    highest = histogram.maximum / _UNIT
    times = f"{second.start:.3f},{second.seconds:.3f},{highest:.3f}"
    return f"Tag={tag},{times},{histogram.encode()}"
