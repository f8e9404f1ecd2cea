"""Little's law, N = X R: what is outstanding is the rate times the response time (and the think
time). It needs no model of the server, so it holds in every closed loop that tells the truth."""

from __future__ import annotations

import pytest

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.scene import assert_littles_law, play

SERVERS = {
    "delay": Behaviour(service=0.004),
    "chance": Behaviour(service=0.001, exponential=True, queue=True),
    "mix": Behaviour(service=0.002, slow=0.02, slow_every=10, queue=True),
}


@pytest.mark.parametrize(
    ("connections", "depth", "think"), [(1, 1, 0.0), (1, 8, 0.0), (10, 1, 0.01), (5, 4, 0.0)]
)
@pytest.mark.parametrize("behaviour", SERVERS.values(), ids=SERVERS.keys())
def test_outstanding_is_rate_times_time(
    tester: str, behaviour: Behaviour, connections: int, depth: int, think: float
) -> None:
    load = {"connections": connections, "depth": depth, "think": think}
    scene = play(behaviour, engine=tester, duration=0.5, warmup=0.1, **load)
    result = scene.result
    assert result.errors == {}
    assert_littles_law(result)
    # Over the window's edges hang as many as may be outstanding.
    edge = connections * depth
    assert result.rate * result.elapsed == pytest.approx(result.messages, abs=edge)
    throughput = result.messages / result.elapsed
    # Outstanding is the integral over the window; the service times of those that hang over an
    # edge are not all in it.
    over = edge * result.service.maximum / SECOND / result.elapsed
    assert result.concurrency == pytest.approx(
        throughput * result.service.mean / SECOND, rel=0.02, abs=over
    )
