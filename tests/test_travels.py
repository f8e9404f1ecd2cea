"""docs/how-a-message-travels.md is true: its routes, its diagram, and every name in it."""

from __future__ import annotations

import ast
import pydoc
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from epollo import CloseReason
from epollo.engine.connection import NEXT_STAGES, Stage
from epollo.settings import Settings
from tests.documents import ROOT, Document
from tests.walks.recorded import walks

PAGE = Document(ROOT / "docs" / "how-a-message-travels.md")
PACKAGE = ROOT / "src" / "epollo"
WALKS = [
    "one message",
    "accept to connected",
    "end of stream to closed",
    "TLS message",
    "async handler",
    "stop with an idle connection",
]

_HEADING = re.compile(r"^## +(.*)$", re.MULTILINE)
_STEP = re.compile(r"^\d+\. +(`[^\\]*)\\$", re.MULTILINE)  # its files and functions
_SPAN = re.compile(r"`([^`]+)`(:?)")
_PLACE = re.compile(r"`([\w/]+\.pyx?)`:\s+(`[^`]+`(?:,\s+`[^`]+`)*)")
_COUNTS = re.compile(r"^(\d+) calls, (\d+) files, (\d+) changes of file\.", re.MULTILINE)
_ARROW = re.compile(r"^ +(\w+) --> (\w+)", re.MULTILINE)
_CYTHON = re.compile(r"^(cdef class|class|    c?p?def|c?p?def) (?:.*?\s\*?)?(\w+)(?=[(:])", re.M)


def test_every_walk_has_a_section() -> None:
    routes = [heading for heading, text in _sections().items() if _COUNTS.search(text)]
    assert [heading.lower() for heading in routes] == [name.lower() for name in walks()]
    assert list(walks()) == WALKS


@pytest.mark.parametrize("name", WALKS)
def test_a_route_is_the_one_that_is_walked(name: str) -> None:
    assert list(_route(_section(name))) == [call for call, _ in groupby(walks()[name]["route"])]


@pytest.mark.parametrize("name", WALKS)
def test_the_counts_of_a_route_are_those_of_the_walk(name: str) -> None:
    counts = _COUNTS.search(_section(name))
    assert counts is not None
    walk = walks()[name]
    assert [int(count) for count in counts.groups()] == [
        walk["calls"],
        walk["files"],
        walk["changes"],
    ]


def test_the_diagram_has_the_transitions_of_the_code() -> None:
    drawn = sorted(_ARROW.findall(PAGE.text))
    assert drawn == sorted(
        (Stage(stage).name, following.name)
        for stage, stages in NEXT_STAGES.items()
        for following in stages
    )


def test_every_function_is_in_the_file_that_is_named_with_it() -> None:
    places = _PLACE.findall(_prose())
    assert places
    named = [
        (file, name)
        for file, names in places
        for name, _ in _SPAN.findall(names)
        if name not in _defined(PACKAGE / file)
    ]
    assert named == []


def test_every_name_exists() -> None:
    known = {stage.name for stage in Stage} | {reason.value for reason in CloseReason}
    known |= set(Settings.__dataclass_fields__)
    for path in _sources():
        known |= _defined(path) | {name.rpartition(".")[2] for name in _defined(path)}
    names = {name for name, _ in _SPAN.findall(_prose())} - {
        "python -m tests.walks",
        "epollo serve",
    }
    assert [name for name in sorted(names - known) if not _exists(name)] == []


def _section(walk: str) -> str:
    return next(text for name, text in _sections().items() if name.lower() == walk.lower())


@cache
def _sections() -> dict[str, str]:
    """The text below each heading."""
    _, *parts = _HEADING.split(PAGE.text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _route(section: str) -> Iterator[str]:
    """The calls that the steps name, as `python -m tests.walks --json` has them."""
    for step in _STEP.findall(section):
        file = ""
        for name, colon in _SPAN.findall(step):
            if colon:
                file = name
            else:
                yield f"{file}: {name}"


def _prose() -> str:
    """The page without the calls of its routes, and without the diagram."""
    return _STEP.sub("", PAGE.prose)


def _exists(name: str) -> bool:
    """Is it a file or a directory here, or something of the standard library?"""
    if "/" in name:
        return any((base / name).exists() for base in (ROOT, PACKAGE))
    return pydoc.locate(name) is not None


def _sources() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx")])


@cache
def _defined(path: Path) -> frozenset[str]:
    """The functions, classes, attributes and constants of a module, by their qualified names."""
    text = path.read_text()
    return frozenset(_in_cython(text) if path.suffix == ".pyx" else _in_python(ast.parse(text)))


def _in_python(parent: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
            yield from _in_python(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def _in_cython(text: str) -> Iterator[str]:
    inside = ""
    for kind, name in _CYTHON.findall(text):
        if kind.endswith("class"):
            inside = name
        yield f"{inside}.{name}" if kind.startswith(" ") else name
