"""The published schema: every result keeps it, and it leaves out nothing that a result has."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from epollo.bench.histogram import Histogram
from epollo.bench.result import Result
from tests.bench.support import made_up

SCHEMA = json.loads((files("epollo.bench") / "schema.json").read_text())


def closed(part: dict[str, Any]) -> dict[str, Any]:
    """That object of a schema, for which a field that it does not name is wrong."""
    return part | {"additionalProperties": False} if "properties" in part else part


STRICT = json.loads(json.dumps(SCHEMA), object_hook=closed)


def nothing() -> Result:
    """A run in which nobody could be reached."""
    names = ("response", "service", "slip", "connect", "first_reply")
    empty: dict[str, Any] = dict.fromkeys(names, Histogram())
    return replace(
        made_up(seconds=1, errors={"connect_refused": 100}),
        **empty,
        elapsed=0.0,
        sent=0,
        answered=[],
        seconds=[],
    )


RESULTS = [
    pytest.param(made_up(seconds=2, errors={"unanswered": 3}), id="closed loop"),
    pytest.param(made_up(seconds=2, rate="1k", arrival="poisson"), id="open loop"),
    pytest.param(
        made_up(seconds=2, source=("127.0.0.1",), size="64:9,1KiB:1", messages=2000), id="settings"
    ),
    pytest.param(nothing(), id="nothing"),
]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("result", RESULTS)
def test_every_result_keeps_it(result: Result) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(result.to_json()))


@pytest.mark.parametrize("result", RESULTS)
def test_no_field_of_a_result_is_without_a_description(result: Result) -> None:
    Draft202012Validator(STRICT).validate(json.loads(result.to_json()))


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 1), ("elapsed", "1 s"), ("rate", None), ("errors", {"reset": -1}), ("late", 1.5)],
)
def test_what_is_no_result_does_not_keep_it(field: str, value: object) -> None:
    document = json.loads(made_up(seconds=1).to_json()) | {field: value}
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(document)


def test_each_field_is_needed() -> None:
    document = json.loads(made_up(seconds=1).to_json())
    for field in document:
        rest = {name: value for name, value in document.items() if name != field}
        with pytest.raises(ValidationError, match=f"'{field}' is a required property"):
            Draft202012Validator(SCHEMA).validate(rest)
