"""The example that a test speaks to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import ServerProcess


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """What the mark `both_ways` starts; it has logged no error and no warning when it ends."""
    with request.param() as server:
        yield server
        assert [line for line in server.log if "INFO" not in line] == []
