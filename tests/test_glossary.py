"""The glossary: each term once, in both languages, and no name that the code does not have."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from tests.documents import ROOT, Document
from tests.modules import Modules
from tests.passages import code

ROWS = Document(ROOT / "docs" / "glossary.md").rows("term", "中文", "meaning")
NAMES = sorted({name for _, _, meaning in ROWS for name in re.findall(r"`([^`]+)`", meaning)})

_DEFINED = re.compile(r"\b(?:class|struct|def)\s+(\w+)|^\s+(\w+): ", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_in_the_code(name: str) -> None:
    assert set(name.split(".")) <= _defined()


def test_each_term_has_one_row() -> None:
    assert {term: n for term, n in Counter(term for term, _, _ in ROWS).items() if n > 1} == {}


def test_each_term_has_both_languages_and_one_sentence() -> None:
    assert ROWS
    for term, chinese, meaning in ROWS:
        assert re.search(r"[\u4e00-\u9fff]", chinese), term
        assert re.fullmatch(r"[A-Z][^.]*(?:\.\w[^.]*)*\.", meaning), term


@cache
def _defined() -> frozenset[str]:
    """The classes, functions, attributes and fields of all modules."""
    paths = [path for files in Modules().files.values() for path in files]
    found = [match for path in paths for match in _DEFINED.findall(code(path))]
    return frozenset(name for names in found for name in names if name)
