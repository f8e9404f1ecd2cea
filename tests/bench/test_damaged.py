"""Files that are damaged, or made to do harm, give a ResultFileError of one line, or a result that
can be shown, whatever stands in which place."""

from __future__ import annotations

import copy
import json
import struct
import tracemalloc
import zlib
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from epollo.bench import Result, Second
from epollo.bench.cli.report import report
from epollo.bench.compare.ratios import compare
from epollo.bench.output import text
from epollo.bench.results import csv, files, hlog
from epollo.bench.results.thresholds import parse
from epollo.bench.results.verdict import Verdict
from epollo.errors import LimitError, ResultFileError
from tests.bench.support import made_up

HUGE = 10**400
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([HUGE, -HUGE, 1 << 62, (1 << 64) - 1, 1e300, 1e-320, 5e-324]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["closed", "constant", "1k..2k/3s", "u32\n\x1b[2J", "x" * 5000, "{", "64..9"]),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
)


@cache
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        made_up(seconds=2, per_second=30, rate=30, errors={"reset": 1}).to_json()
    )
    return made


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in inside:
        found.append((*way, key))
        if isinstance(each, dict | list):
            found += places(each, (*way, key))
    return found


def with_one_changed(way: tuple[Any, ...], value: Any, removed: bool) -> str:
    changed = copy.deepcopy(document())
    inner: Any = changed
    for key in way[:-1]:
        inner = inner[key]
    if removed:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return json.dumps(changed)


def read(written: str) -> Result | str:
    """The result, or why it is none."""
    try:
        return Result.from_json(written)
    except ResultFileError as error:
        return str(error)


def read_and_show(written: str) -> None:
    """Whatever is done with the result raises nothing else."""
    result = read(written)
    if isinstance(result, str):
        assert result.isprintable()
        assert len(result) < 500
        return
    assert text.render(Verdict.of(result, [parse("p99>1ms"), parse("errors>1%")]))
    assert csv.text(result)
    assert hlog.text(result)
    assert result.to_json()
    assert compare([result, Result.from_json(json.dumps(document()))]).rows


@settings(max_examples=300)
@given(st.sampled_from(places(document())), ANYTHING, st.booleans())
def test_a_document_with_anything_in_any_place(
    way: tuple[Any, ...], value: Any, removed: bool
) -> None:
    read_and_show(with_one_changed(way, value, removed))


@settings(max_examples=100)
@given(st.data())
def test_a_file_that_was_cut_or_overwritten(data: st.DataObject) -> None:
    written = json.dumps(document())
    place = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(st.text(max_size=3))
    read_and_show(written[:place] + other + data.draw(st.sampled_from(["", written[place + 1 :]])))


@settings(max_examples=200)
@given(st.recursive(ANYTHING, lambda inner: st.dictionaries(st.text(max_size=8), inner)))
def test_a_document_of_anything(value: Any) -> None:
    for written in (json.dumps(value), json.dumps({"version": 2, "workload": value})):
        with pytest.raises(ResultFileError):
            Result.from_json(written)
    for of_document in (Result.of_document, Second.of_document):
        with pytest.raises(ResultFileError):
            of_document(value)


def full_histogram() -> str:
    """Every bucket has one value; the text is a few hundred characters."""
    words = b"\2" * (54 << 10)
    head = struct.pack(">IIIIQQd", 0x1C849313, len(words), 0, 3, 1, 2, 1.0)
    packed = zlib.compress(head + words, 9)
    return b64encode(struct.pack(">II", 0x1C849314, len(packed)) + packed).decode()


def test_small_texts_that_stand_for_large_histograms_take_little_memory() -> None:
    """A thousand of them would take half a gigabyte."""
    changed = copy.deepcopy(document())
    second = changed["seconds"][0] | dict.fromkeys(("response", "service", "slip"), "")
    packed = full_histogram()
    changed["seconds"] = [second | {"response": packed, "service": packed} for _ in range(1000)]
    for each in changed["seconds"]:
        each["slip"] = document()["seconds"][0]["slip"]
    written = json.dumps(changed)
    tracemalloc.start()
    try:
        with pytest.raises(ResultFileError, match="too large for a file of its size"):
            Result.from_json(written)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{", b'{"version": 2}', b"\0" * 9, b'"search"']
)
def test_the_command_says_so_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    run = CliRunner().invoke(report, [str(path)])
    assert isinstance(run.exception, ResultFileError)
    assert str(run.exception).startswith(f"{path}: not a result of epollo bench --json: ")
    assert str(run.exception).isprintable()


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    for path in (f"{tmp_path}/a\0b.json", str(tmp_path)):
        with pytest.raises(ResultFileError, match=r"\Acannot read .*\Z"):
            files.read(path)
        with pytest.raises((ResultFileError, LimitError), match=r"\A.*\Z"):
            parse(f"p99>{path}*2")
