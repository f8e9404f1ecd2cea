"""What tests share stands in modules of its own: a test module is for its tests alone."""

from __future__ import annotations

import re

import pytest

from tests.documents import ROOT

IMPORT = re.compile(r"^\s*(?:from|import) (tests\.(?:\w+\.)*(?:test_\w+|conftest))\b", re.MULTILINE)


@pytest.mark.parametrize("root", ["tests", "benchmarks", "fuzz"])
def test_nothing_imports_a_test_module(root: str) -> None:
    sources = {path: path.read_text() for path in (ROOT / root).rglob("*.py")}
    found = {str(path): IMPORT.findall(text) for path, text in sources.items()}
    assert {path: modules for path, modules in found.items() if modules} == {}
