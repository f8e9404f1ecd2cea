"""Large files of results: read in little memory, and as careful as small ones."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epollo.bench import Result
from epollo.bench.compare.ratios import compare
from epollo.bench.output.text import render
from epollo.bench.results import csv, files, large
from epollo.bench.results.series import MINUTE, RecordedSeries
from epollo.bench.results.thresholds import parse
from epollo.bench.results.verdict import Verdict
from epollo.errors import ResultFileError
from tests.bench.support import made_up


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each file as if it were large, in small chunks."""
    monkeypatch.setattr(files, "_LARGE", 0)
    monkeypatch.setattr(large, "_CHUNK", 100)


def shown(result: Result) -> str:
    return render(Verdict.of(result, [parse("p99>1ms")]))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_large_file_has_the_same_figures(
    indent: int | None, ascii_only: bool, tmp_path: Path
) -> None:
    load: dict[str, Any] = {"template": "\N{GREEK SMALL LETTER MU}{number}"}
    made = made_up(seconds=4, per_second=100, rate="100/2s,200/2s", errors={"reset": 1}, **load)
    document = json.loads(made.to_json())
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    small, big = Result.from_json(made.to_json()), files.read(file)
    assert shown(big) == shown(small)
    assert csv.text(big) == csv.text(small)
    assert json.loads(big.to_json()) == json.loads(small.to_json())
    assert compare([big, small]).rows


def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(made_up(seconds=2, per_second=30, rate=30).to_json())
    return made


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_large_file_that_was_cut_or_overwritten(tmp_path: Path, data: st.DataObject) -> None:
    written = json.dumps(document())
    place = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(st.text(st.characters(codec="utf-8"), max_size=3))
    end = data.draw(st.sampled_from(["", written[place + 1 :]]))
    (tmp_path / "run.json").write_text(written[:place] + other + end, encoding="utf-8")
    with suppress(ResultFileError):
        result = files.read(tmp_path / "run.json")
        assert shown(result)
        assert csv.text(result)
        assert compare([result, result]).rows


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "{}", '{"seconds": [1]}', "{} {}", "5", '"x', '{"seconds": ' + "[" * 9999],
)
def test_a_large_file_that_is_no_result(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(f" {text}")
    with pytest.raises(ResultFileError, match=r"\A.*run\.json: not a result of epollo bench.*\Z"):
        files.read(file)


def test_seconds_of_a_large_file_take_little_memory(tmp_path: Path) -> None:
    made = made_up(seconds=5, per_second=200)
    text = made.to_json()
    document = json.loads(text)
    document["seconds"] *= 200
    (tmp_path / "run.json").write_text(json.dumps(document))
    tracemalloc.start()
    try:
        result = files.read(tmp_path / "run.json")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result.seconds) == 1000
    assert taken / 1000 < 200


# -- minutes


def recorded(result: Result, count: int) -> RecordedSeries:
    """So many seconds, as a run records them."""
    series = RecordedSeries()
    for number in range(count):
        second = result.seconds[number % len(result.seconds)]
        series.append(replace(second, start=float(number)))
    series.complete()
    return series


def test_a_long_run_has_the_sum_of_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epollo.bench.results.series._LONG", MINUTE)
    made = made_up(seconds=4, per_second=20)
    long = replace(made, seconds=recorded(made, 2 * MINUTE + 30), elapsed=2.0 * MINUTE + 30)
    (tmp_path / "run.json").write_text(long.to_json())
    read = files.read(tmp_path / "run.json")
    totals = [minute.total for minute in read.seconds.minutes]  # type: ignore[attr-defined]
    assert totals == [20 * MINUTE, 20 * MINUTE, 20 * 30]


def test_values_that_come_late_are_in_their_second_and_its_minute() -> None:
    made = made_up(seconds=4, per_second=20)
    series = RecordedSeries()
    for number in range(MINUTE):
        series.append(replace(made.seconds[0], start=float(number)))
    late = made.seconds[1]
    series.amend(3, (late.response, late.service, late.slip))
    series.complete()
    assert [series[n].response.total for n in (2, 3, 4)] == [20, 40, 20]
    assert series[3].response.mean == made.seconds[0].response.merged(late.response).mean
    assert series.minutes[0].total == 20 * MINUTE + 20


def test_seconds_are_in_memory_if_there_is_no_space_for_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = made_up(seconds=3, per_second=20)
    series = RecordedSeries()
    series.append(made.seconds[0])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    series.append(made.seconds[1])
    series.append(made.seconds[2])
    assert [second.response.mean for second in series] == [
        second.response.mean for second in made.seconds
    ]
