"""An event passes through few files: whoever follows it does not have to jump about."""

from __future__ import annotations

import pytest

from tests.walks.recorded import walks

LIMITS = {  # changes of file
    "one message": 9,
    "TLS message": 12,
    "accept to connected": 16,
    "end of stream to closed": 20,
    "async handler": 27,
    "stop with an idle connection": 57,
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_walk_changes_files_seldom(name: str) -> None:
    assert walks()[name]["changes"] <= LIMITS[name], "\n".join(walks()[name]["route"])


def test_every_walk_was_recorded() -> None:
    assert {name for name, walk in walks().items() if walk["calls"] and walk["route"]} == set(
        LIMITS
    )
