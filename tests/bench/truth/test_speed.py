"""Open loop at 50,000 messages a second: the schedule is kept, or the verdict says it was not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.build import ECHO_SERVER, build
from benchmarks.errors import BenchmarkError
from benchmarks.process import serving
from benchmarks.servers import LIMIT, NATIVE, Server
from epollo.bench import Workload, run
from epollo.bench.results.result import LATE_ALLOWED
from epollo.bench.results.verdict import Verdict
from tests.bench.truth.cores import leaving_the_servers_core, servers_core

RATE = 50_000


@contextmanager
def address_of(server: Server, first: bool = True) -> Iterator[str]:
    """The server on its core, as the benchmarks have it."""
    if server.missing:
        pytest.skip(f"{server.label}: {server.missing}")
    if server is LIMIT:
        try:
            build(ECHO_SERVER)
        except BenchmarkError as error:
            pytest.skip(str(error))
    with serving(server, servers_core() or 0) as running, leaving_the_servers_core(first):
        yield f"127.0.0.1:{running.port}"


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
@pytest.mark.parametrize("server", [LIMIT, NATIVE], ids=lambda server: server.name)
@pytest.mark.parametrize(
    "window", [pytest.param(0.5, id="short"), pytest.param(10.0, id="long", marks=pytest.mark.slow)]
)
def test_at_most_a_thousandth_slips_or_the_verdict_says_so(
    tester: str, server: Server, arrival: str, window: float
) -> None:
    with address_of(server, first=window < 1) as where:  # it may not rest for seconds
        load = {"rate": RATE, "arrival": arrival, "duration": window, "warmup": 0.2}
        result = run(Workload(address=where, engine=tester, **load))  # type: ignore[arg-type]
    verdict = str(Verdict.of(result))
    print(f"\n{server.label}, {arrival}: {verdict}", end=" ")
    assert result.errors == {}
    assert result.messages == result.sent == pytest.approx(RATE * window, rel=0.03)
    if arrival == "constant":
        assert result.sent == RATE * window  # however late
    slipped = result.slip.above(10**6)
    blamed = re.search(" late, so the tester | late; the machine was busy", verdict)
    assert slipped <= LATE_ALLOWED or blamed


def test_a_rate_out_of_reach_is_not_called_kept(tester: str) -> None:
    """It ends within the timeout, its rate is what there was, and the verdict blames the tester."""
    with address_of(LIMIT) as where:
        load = {"rate": 100 * RATE, "duration": 0.2, "warmup": 0, "timeout": 0.5}
        result = run(Workload(address=where, engine=tester, **load))  # type: ignore[arg-type]
    print(f"\n{Verdict.of(result)}", end=" ")
    assert result.elapsed == pytest.approx(0.2 + 0.5, rel=0.2)
    assert result.rate * result.elapsed <= result.messages
    assert result.sent == result.messages + result.unanswered
    assert result.sent < 0.2 * 100 * RATE
    assert result.late > 0.5
    # Of a machine that is slow itself, connections may be lost to the timeout.
    assert re.search("the tester (had no connection, or )?was slow", str(Verdict.of(result)))
