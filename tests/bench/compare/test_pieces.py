"""Runs in pieces: the same sums as their histograms, in little memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from epollo.bench.compare.pieces import Pieces, sampled
from epollo.bench.results import files
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.series import MINUTE, RecordedSeries
from tests.bench.support import made_up

VALUES = (0, 99_999, 200_000, 700_000, 1 << 62)


def long_run(minutes: int) -> Result:
    """A run of so many minutes, of which few seconds have messages."""
    made = made_up(seconds=4, per_second=20)
    empty = replace(
        made.seconds[0], response=Histogram(), service=Histogram(), slip=Histogram(), messages=0
    )
    series = RecordedSeries()
    for number in range(minutes * MINUTE):
        second = empty if number % 30 else made.seconds[number // 30 % 4]
        series.append(replace(second, start=float(number)))
    series.complete()
    return replace(made, seconds=series, elapsed=float(minutes * MINUTE))


def test_a_piece_has_the_sums_of_its_seconds() -> None:
    run = made_up(seconds=300, per_second=20)
    pieces = Pieces.of(run, VALUES)
    assert len(pieces.responses) == len(pieces.messages) == 100
    for number, responses in enumerate(pieces.responses):
        whole = Histogram.sum(s.response for s in run.seconds[3 * number : 3 * number + 3])
        assert responses.total == whole.total
        assert responses.sum == whole.sum_of_values
        assert [responses.above(value) for value in VALUES] == [whole.above(v) for v in VALUES]


def test_the_sum_of_a_read_histogram_is_that_of_its_mean() -> None:
    read = Histogram.decode(made_up(seconds=1).response.encode())
    once = read.sum_of_values
    assert once == round(read.mean * read.total) == read.sum_of_values


def test_a_short_run_is_read_whole() -> None:
    assert sampled(made_up(seconds=5, per_second=10)) == (1, "seconds")


def test_of_a_long_run_some_minutes_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many in each piece; the same ones each time."""
    monkeypatch.setattr("epollo.bench.compare.pieces._MINUTES", 120)
    (tmp_path / "run.json").write_text(long_run(240).to_json())
    monkeypatch.setattr(files, "_LARGE", 0)
    read = files.read(tmp_path / "run.json")
    assert sampled(read) == (2, "minutes")
    pieces = Pieces.of(read, VALUES)
    assert len(pieces.responses) == len(pieces.seconds) == 120
    assert {responses.total for responses in pieces.responses} == {40}
    assert sum(pieces.seconds) == 240 * MINUTE


def test_of_a_long_run_without_minutes_some_seconds_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("epollo.bench.compare.pieces._MOST", 240)
    monkeypatch.setattr("epollo.bench.compare.pieces._SAMPLED", 120)
    run = made_up(seconds=480, per_second=10)
    assert sampled(run) == (4, "seconds")
    assert [responses.total for responses in Pieces.of(run, VALUES).responses] == [10] * 120
