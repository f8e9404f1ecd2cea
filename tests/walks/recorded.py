"""The walks as a process of its own records them, in which no other test has had a part."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any


@cache
def walks() -> dict[str, Any]:
    """Each by its name: its counts and its route."""
    command = [sys.executable, "-m", "tests.walks", "--json"]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, timeout=60))
    return found
