"""A small run of the first experiment, on real connections, without timing."""

from __future__ import annotations

import gc

import pytest

from epollo.descriptors import all_descriptors
from epollo.engine.python.poller import POLLERS
from epollo.errors import UsageError
from epollo.lab.connections import highest_descriptor, largest_count, open_connections
from epollo.lab.pollers import PollersResult, run_pollers
from epollo.lab.select_end import find_select_end


def test_every_poller_is_measured_with_every_number(pollers_result: PollersResult) -> None:
    cells = [(w.poller, w.idle) for w in pollers_result.wake_ups]
    assert cells == [(name, idle) for name in POLLERS for idle in (5, 20)]


def test_the_figures_are_times(pollers_result: PollersResult) -> None:
    for found in pollers_result.wake_ups:
        assert found.refused is None
        assert found.watched == found.idle + 1
        assert found.samples >= 2
        assert found.lower is not None
        assert found.median is not None
        assert found.upper is not None
        assert 0 < found.lower <= found.median <= found.upper


def test_the_end_of_select_is_a_real_attempt(pollers_result: PollersResult) -> None:
    end = pollers_result.select_end
    assert end.last < 1024 <= end.refused
    assert end.engine_says is not None
    assert f"cannot watch descriptor {end.refused}" in end.engine_says
    assert end.python_says == "filedescriptor out of range in select()"


def test_select_has_a_limit_that_others_do_not_have() -> None:
    found = {w.poller: w for w in run_pollers([1100], seconds=0.001).wake_ups}
    assert found["select"].refused is not None
    assert found["select"].refused >= 1024
    assert found["select"].watched < 1024
    assert found["select"].median is None
    for name in set(found) - {"select"}:
        assert found[name].refused is None
        assert found[name].median is not None


def test_the_watched_ends_have_low_numbers() -> None:
    with all_descriptors() as limit, open_connections(30, limit) as connections:
        watched = [sock.fileno() for sock in (connections.near, *connections.idle)]
        assert len(set(watched)) == 31
        assert max(watched) < 1024 <= connections.far.fileno()
        connections.far.send(b"x")
        assert connections.near.recv(1) == b"x"


def test_the_largest_count_just_fits() -> None:
    for limit in (1200, 2000, 4096, 20_000):
        assert (
            highest_descriptor(largest_count(limit))
            <= limit
            < highest_descriptor(largest_count(limit) + 1)
        )


def test_too_few_descriptors_are_one_line_that_names_the_fix() -> None:
    with (
        pytest.raises(UsageError, match=r"^5,000 idle connections take .* ulimit -Hn$"),
        open_connections(5000, limit=2000),
    ):
        pass
    with pytest.raises(UsageError, match="ulimit -Hn"):
        find_select_end(limit=1024)


def test_interrupted_it_leaves_nothing_open_and_the_collector_on() -> None:
    def interrupt(doing: str) -> None:
        if "round" in doing:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pollers([5], seconds=0.001, progress=interrupt)
    assert gc.isenabled()
