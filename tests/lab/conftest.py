"""Fixtures of the lab's tests: one small run of each experiment, on real sockets."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from epollo.lab.backlog import BacklogResult, run_backlog
from epollo.lab.comparison import Comparison, run_peers
from epollo.lab.pollers import PollersResult, run_pollers


@pytest.fixture(scope="session")
def pollers_result() -> PollersResult:
    return run_pollers([5, 20], seconds=0.01)


@pytest.fixture(scope="session")
def backlog_result() -> BacklogResult:
    return run_backlog([64, 1], clients=8, busy=0.05, wait=1.2)


@pytest.fixture(scope="session")
def comparison_result() -> Comparison:
    return run_peers(connections=2, depths=[2], seconds=0.2, rounds=1)


@pytest.fixture(autouse=True)
def limit_restored() -> Iterator[None]:
    """Fail a test that leaves the limit of descriptors raised."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
