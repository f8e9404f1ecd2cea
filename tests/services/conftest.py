"""What the services need is installed for `make services` alone: other runs do not import them."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folder if its tests are not chosen."""
    return True if "not services" in config.getoption("markexpr") else None
