"""The engines of the tester itself: each has to tell the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from epollo.engine import available


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is measured takes its time: `make truth` runs it, `make test` does not."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("truth")
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(params=sorted(available()))
def tester(request: pytest.FixtureRequest) -> str:
    """What ``Workload(engine=...)`` takes."""
    return str(request.param)
