"""Each engine on one poller: what others send and take does not depend on it."""

from __future__ import annotations

import pytest

from tests.conftest import ENGINES, Engine

ONE_OF_EACH = list({engine.name: engine for engine in reversed(ENGINES)}.values())


@pytest.fixture(params=ONE_OF_EACH, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    assert isinstance(request.param, Engine)
    return request.param
