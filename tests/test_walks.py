"""An event passes through few files: whoever follows it does not have to jump about."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

LIMITS = {  # changes of file
    "one message": 9,
    "TLS message": 12,
    "accept to connected": 16,
    "end of stream to closed": 20,
    "async handler": 27,
    "stop with an idle connection": 47,
}


@pytest.fixture(scope="module")
def walks() -> dict[str, Any]:
    """Those of a process of its own, in which no other test has had a part."""
    command = [sys.executable, "-m", "tests.walks", "--json"]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, timeout=60))
    return found


@pytest.mark.parametrize("name", LIMITS)
def test_a_walk_changes_files_seldom(name: str, walks: dict[str, Any]) -> None:
    assert walks[name]["changes"] <= LIMITS[name], "\n".join(walks[name]["route"])


def test_every_walk_was_recorded(walks: dict[str, Any]) -> None:
    assert {name for name, walk in walks.items() if walk["calls"] and walk["route"]} == set(LIMITS)
