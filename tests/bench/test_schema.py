"""The published schema: each result and each search keeps it, and it leaves out nothing of them."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.precision import Precision
from epollo.bench.results.result import Result
from epollo.bench.results.thresholds import requirement
from epollo.bench.search import Search
from epollo.bench.workload import Workload
from tests.bench.support import made_up
from tests.support import epollo

SCHEMA = json.loads((files("epollo.bench") / "schema.json").read_text())


def closed(part: dict[str, Any]) -> dict[str, Any]:
    """That object of a schema, for which a field that it does not name is wrong."""
    return part | {"additionalProperties": False} if "properties" in part else part


LATER = {"floor", "delays", "culprit", "shares"}  # fields that results of before do not have

STRICT = json.loads(json.dumps(SCHEMA), object_hook=closed)


def nothing(**load: Any) -> Result:
    """A run in which nobody could be reached."""
    names = ("response", "service", "slip", "connect", "first_reply")
    empty: dict[str, Any] = dict.fromkeys(names, Histogram())
    return replace(
        made_up(seconds=1, errors={"connect_refused": 100}, **load),
        **empty,
        elapsed=0.0,
        sent=0,
        answered=[],
        seconds=[],
    )


def search(*runs: Result, limits: tuple[str, ...] = ("p99<5ms",), **changes: Any) -> Search:
    """One that has made these runs."""
    found = Search(Workload(address="127.0.0.1:1", rate=1000), list(map(requirement, limits)))
    for each in runs:
        found.add(each)
    return replace(found, **changes)


FAST, SLOW = made_up(seconds=2, rate=1000.0), made_up(lambda *_: 1e9, seconds=2, rate=2000.0)

SEARCHES = [
    pytest.param(search(FAST, SLOW, FAST), id="found"),
    pytest.param(search(SLOW), id="nothing held"),
    pytest.param(search(FAST), id="nothing failed"),
    pytest.param(search(interrupted=True), id="ended before a run was over"),
    pytest.param(
        search(nothing(rate=1000.0), limits=("p99<5ms", "errors<1")), id="nothing measured"
    ),
]

RESULTS = [
    pytest.param(made_up(seconds=2, errors={"unanswered": 3}), id="closed loop"),
    pytest.param(made_up(seconds=2, rate="1k", arrival="poisson"), id="open loop"),
    pytest.param(
        made_up(seconds=2, source=("127.0.0.1",), size="64:9,1KiB:1", messages=2000), id="settings"
    ),
    pytest.param(
        replace(
            made_up(seconds=2, duration=60.0, until="p99±5%"),
            precision=(Precision("p99±5%", "p99", 0.05, 0.01, 0.009, None),),
        ),
        id="precise",
    ),
    pytest.param(nothing(), id="nothing"),
]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("result", RESULTS + SEARCHES)
def test_all_that_is_written_keeps_it(result: Result | Search) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(result.to_json()))


@pytest.mark.parametrize("result", RESULTS + SEARCHES)
def test_no_field_is_without_a_description(result: Result | Search) -> None:
    Draft202012Validator(STRICT).validate(json.loads(result.to_json()))


def test_what_a_search_prints_keeps_it() -> None:
    limits = ["--find-rate", "p99<1us", "--find-rate", "rate>1"]
    load = ["-c", "2", "-R", "100", "-d", "100ms", "--warmup", "0"]
    run = epollo("bench", *limits, *load, "--json", "-")
    assert run.returncode == 1, run.stderr  # no echo is that fast
    document = json.loads(run.stdout)
    Draft202012Validator(STRICT).validate(document)
    assert len(document["probes"]) > 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 1), ("elapsed", "1 s"), ("sent", None), ("errors", {"reset": -1}), ("late", 1.5)],
)
def test_what_is_no_result_does_not_keep_it(field: str, value: object) -> None:
    document = json.loads(made_up(seconds=1).to_json()) | {field: value}
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [("search", 2), ("limits", []), ("rate", 0), ("held", -1), ("confidence", {"level": 95})],
)
def test_what_is_no_search_does_not_keep_it(field: str, value: object) -> None:
    document = json.loads(search(FAST).to_json()) | {field: value}
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(document)


def test_a_run_of_a_search_keeps_what_a_run_does() -> None:
    document = json.loads(search(FAST).to_json())
    del document["probes"][0]["result"]["elapsed"]
    with pytest.raises(ValidationError, match="'elapsed' is a required property"):
        Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize("made", [made_up(seconds=1), search(FAST)])
def test_each_field_is_needed(made: Result | Search) -> None:
    document = json.loads(made.to_json())
    # Without "search" it is taken for a result; and results of before lack some.
    later = {"agents", "cpu", "cpu_wait", "ended", "matched_by", "precision"}
    for field in document.keys() - {"search"} - later - LATER:
        remainder = {name: value for name, value in document.items() if name != field}
        with pytest.raises(ValidationError, match=f"'{field}' is a required property"):
            Draft202012Validator(SCHEMA).validate(remainder)
