"""The .hlog: what the reader of the hdrhistogram package takes from it is what was written.

HdrHistogram's own tool reads it in tests/interop/test_hlog.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from epollo.bench.results import hlog
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.errors import EpolloError
from tests.bench.support import made_up

HOUR = 3600 * 10**9


def read(path: Path) -> Iterator[HdrHistogram]:
    """Each interval of the log."""
    with closing(HistogramLogReader(str(path), HdrHistogram(1, HOUR, 3))) as reader:
        while (interval := reader.get_next_interval_histogram()) is not None:
            yield interval


def counts(histogram: HdrHistogram) -> dict[int, int]:
    return {
        item.value_iterated_to: item.count_added_in_this_iter_step
        for item in histogram.get_recorded_iterator()
    }


def our_counts(histogram: Histogram) -> dict[int, int]:
    return {high: count for _, high, count in histogram.buckets()}


@pytest.fixture
def stalled() -> Result:
    """Three seconds of an open loop, in one of which no message was due."""
    result = made_up(seconds=3, rate="1k")
    quiet = replace(result.seconds[1], response=Histogram(), service=Histogram(), slip=Histogram())
    return replace(result, seconds=[result.seconds[0], quiet, result.seconds[2]])


def test_each_interval_comes_back_with_its_counts_times_and_tag(
    tmp_path: Path, stalled: Result
) -> None:
    hlog.write(str(tmp_path / "run.hlog"), stalled)
    intervals = list(read(tmp_path / "run.hlog"))
    expected = [(second, tag) for second in stalled.seconds for tag in hlog.TAGS]
    assert len(intervals) == len(expected)
    for interval, (second, tag) in zip(intervals, expected, strict=True):
        begin = (stalled.started + second.start) * 1000
        assert interval.tag == tag
        assert counts(interval) == our_counts(getattr(second, tag))
        assert interval.get_start_time_stamp() == pytest.approx(begin)
        assert interval.get_end_time_stamp() == pytest.approx(begin + 1000)


def test_all_intervals_together_are_the_run(tmp_path: Path) -> None:
    result = made_up(seconds=3, rate="1k")
    hlog.write(str(tmp_path / "run.hlog"), result)
    whole = {tag: HdrHistogram(1, HOUR, 3) for tag in hlog.TAGS}
    for interval in read(tmp_path / "run.hlog"):
        whole[interval.tag].add(interval)
    for tag in hlog.TAGS:
        assert counts(whole[tag]) == our_counts(getattr(result, tag))


def test_a_closed_loop_has_no_slip() -> None:
    lines = hlog.text(made_up(seconds=2)).splitlines()
    tags = [line.partition(",")[0] for line in lines if line.startswith("Tag=")]
    assert tags == ["Tag=response", "Tag=service"] * 2


def test_the_head_is_that_of_format_1_3() -> None:
    lines = hlog.text(made_up(seconds=1)).splitlines()
    assert lines[:5] == [
        "#[Histogram log format version 1.3]",
        "#[epollo bench 127.0.0.1:8091, values in ns]",
        "#[BaseTime: 1700000000.000 (seconds since epoch)]",
        "#[StartTime: 1700000000.000 (seconds since epoch), 2023-11-14T22:13:20Z]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(EpolloError, match=r"cannot write .*: no such file or directory"):
        hlog.write(str(tmp_path / "missing" / "run.hlog"), made_up(seconds=1))
