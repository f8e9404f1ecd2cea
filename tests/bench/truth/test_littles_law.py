"""Little's law, N = X R: what is outstanding is the rate times the response time (and the think
time). It needs no model of the server, so it holds in every closed loop that tells the truth."""

from __future__ import annotations

import pytest

from tests.bench.truth.plans import SECOND, Plan
from tests.bench.truth.scene import play

SERVERS = {
    "delay": Plan(service=0.004),
    "chance": Plan(service=0.001, exponential=True, queue=True),
    "mix": Plan(service=0.002, slow=0.02, slow_every=10, queue=True),
}


@pytest.mark.parametrize("think", [0.0, 0.01])
@pytest.mark.parametrize(("connections", "depth"), [(1, 1), (1, 8), (10, 1), (5, 4)])
@pytest.mark.parametrize("plan", SERVERS.values(), ids=SERVERS.keys())
def test_outstanding_is_rate_times_time(
    tester: str, plan: Plan, connections: int, depth: int, think: float
) -> None:
    """But for what hangs over the two edges of the window: at most N messages, at each."""
    load = {"connections": connections, "depth": depth, "think": think}
    scene = play(plan, engine=tester, duration=0.5, warmup=0.1, **load)
    result = scene.result
    assert result.errors == {}
    wanted = connections * depth
    cycle = result.response.mean / SECOND + think
    edge = 2 * (result.response.maximum / SECOND + think) / result.elapsed
    assert result.sent / result.elapsed * cycle == pytest.approx(wanted, rel=0.03 + edge)
    assert result.concurrency == pytest.approx(
        wanted - think * result.sent / result.elapsed, abs=wanted * (0.03 + edge)
    )
    assert result.rate == pytest.approx(result.messages / result.elapsed)
