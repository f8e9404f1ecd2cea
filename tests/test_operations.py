"""The page of operations has every metric that is exposed, and every line that is logged."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.documents import ROOT, Document
from tests.metrics.support import Scraped
from tests.workers.support import supervised

PAGE = Document(ROOT / "docs" / "operations.md")
SOURCES = ROOT / "src" / "epollo"
LOGGING = ("server", "workers", "metrics", "control", "systemd.py", "logs/files.py")
LEVELS = {"debug", "info", "warning", "error", "exception"}
GAP = "…"


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric of a server with workers, by its name."""
    folder = tmp_path_factory.mktemp("operations")
    with supervised(folder, "--metrics", f"unix:{folder}/metrics", workers=1) as server:
        server.ask()
        now = Scraped(f"unix:{folder}/metrics")
    found = {}
    for name, family in now.families.items():
        full = f"{name}_total" if family.type == "counter" else name
        found[full] = {label for sample in family.samples for label in sample.labels}
    return found


def test_every_metric_has_a_row_with_its_labels(exposed: dict[str, set[str]]) -> None:
    """All but `worker` and a bucket's bound."""
    rows = {}
    for metric, *_ in PAGE.rows("metric", "what it means", "what to do"):
        match = re.fullmatch(r"`(\w+)(?:\{(\w+)\})?`", metric)
        assert match is not None, metric
        rows[match[1]] = {match[2]} if match[2] else set()
    assert rows == {name: labels - {"worker", "le"} for name, labels in exposed.items()}


def test_every_line_of_the_source_has_a_row() -> None:
    rows = _rows()
    missing = [line for line in _logged() if line not in rows]
    assert missing == []


def test_every_row_is_a_line_of_the_source() -> None:
    """Its parts are in strings there: some lines are put together."""
    strings = _strings()
    parts = {part.strip(" ;,") for row in _rows() for part in re.split(f"{GAP}|; |: it ", row)}
    assert [part for part in parts if part.rstrip(":") not in strings] == []


def test_the_rows_are_found() -> None:
    assert len(_rows()) > 50
    assert len(set(_logged())) > 40


def _rows() -> set[str]:
    return {
        row[0].removeprefix("`").removesuffix("`")
        for row in PAGE.rows("line", "level", "what it means", "what to do")
    }


@cache
def _trees() -> list[ast.Module]:
    files = [
        file
        for name in LOGGING
        for file in ([SOURCES / name] if name.endswith(".py") else (SOURCES / name).rglob("*.py"))
    ]
    return [ast.parse(Path(file).read_text()) for file in files]


def _logged() -> Iterator[str]:
    """The texts that calls of loggers have, with a gap for each value."""
    for tree in _trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in LEVELS:
                texts = node.args[:1]
            elif node.func.attr == "log":  # (level, text) or, of a LogLimiter, (kind, level, text)
                texts = node.args[1:3]
            else:
                continue
            for text in texts:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield from _line(text.value)


def _line(text: str) -> Iterator[str]:
    """Nothing for a text that is put together, of which the page has every form."""
    line = re.sub(r"%[.0-9]*[a-z]", GAP, text.replace("%r", "%s"))
    if f"{GAP} {GAP}" not in line and len(re.findall(r"[a-z]{2,}", line)) > 1:
        yield line


@cache
def _strings() -> str:
    trees = [*_trees(), *(ast.parse(file.read_text()) for file in SOURCES.rglob("*.py"))]
    found = []
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[.0-9]*[a-z]", GAP, node.value))
    return "\n".join(found)
