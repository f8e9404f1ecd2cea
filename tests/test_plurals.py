"""Numbers of things in messages."""

from __future__ import annotations

import pytest

from epollo.plurals import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (2, "2 bytes"), (1000, "1000 bytes")]
)
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "byte") == text
