"""The engines of the tester itself: each has to tell the truth."""

from __future__ import annotations

import pytest

from epollo.engine import available


@pytest.fixture(params=sorted(available()))
def tester(request: pytest.FixtureRequest) -> str:
    """What ``Workload(engine=...)`` takes."""
    return str(request.param)
