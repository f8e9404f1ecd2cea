"""The CSV per second: what a spreadsheet reads is what the result has."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from epollo.bench.results import csv as series
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.errors import EpolloError
from tests.bench.support import made_up


def rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(series.text(result))))


def test_a_row_a_second_with_its_figures() -> None:
    result = made_up(seconds=3, rate="1k")
    read = rows(result)
    assert [row["start"] for row in read] == ["0.0", "1.0", "2.0"]
    assert [float(row["time"]) for row in read] == [result.started + n for n in range(3)]
    for row, second in zip(read, result.seconds, strict=True):
        assert float(row["rate"]) == second.rate
        assert float(row["target"]) == 1000
        assert int(row["sent"]) == second.sent
        for name in ("response", "service", "slip"):
            times = getattr(second, name)
            assert float(row[f"{name}_mean"]) == pytest.approx(times.mean / 1e9, abs=1e-9)
            assert float(row[f"{name}_p50"]) == times.percentile(50) / 1e9
            assert float(row[f"{name}_p99.9"]) == times.percentile(99.9) / 1e9
            assert float(row[f"{name}_max"]) == times.maximum / 1e9


def test_the_columns_are_those_that_are_documented() -> None:
    assert series.text(made_up(seconds=1)).splitlines()[0] == ",".join(series.COLUMNS)


def test_what_is_not_known_is_an_empty_cell() -> None:
    result = made_up(seconds=2)
    stalled = replace(result.seconds[1], messages=0, response=Histogram())
    first, second = rows(replace(result, seconds=[result.seconds[0], stalled]))
    assert (first["target"], first["slip_p99"]) == ("", "")
    assert first["response_p99"]
    assert (second["response_mean"], second["response_max"], second["rate"]) == ("", "", "0.0")


def test_it_is_written_to_a_file_or_not_at_all(tmp_path: Path) -> None:
    result = made_up(seconds=1)
    series.write(str(tmp_path / "run.csv"), result)
    assert (tmp_path / "run.csv").read_text() == series.text(result) + "\n"
    with pytest.raises(EpolloError, match=r"cannot write .*: no such file or directory"):
        series.write(str(tmp_path / "missing" / "run.csv"), result)


def test_a_percentile_beyond_the_messages_of_a_second_is_told_from_one_that_is_known() -> None:
    [second] = made_up(seconds=1).seconds
    read = []
    for count in (3, 10**7):
        times = Histogram()
        times.record_many(1_000_000, count)
        read += rows(replace(made_up(seconds=1), seconds=[replace(second, response=times)]))
    few, many = read
    assert few["response_mean"] == many["response_mean"]
    assert few["response_p99.9"] != many["response_p99.9"]
