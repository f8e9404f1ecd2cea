"""Servers that only delay: each percentile is known."""

from __future__ import annotations

import pytest
from scipy import stats

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.queues import ranks
from tests.bench.truth.scene import close_to, play

LOADS = {
    "open": {"rate": 500, "connections": 100},
    "poisson": {"rate": 500, "connections": 100, "arrival": "poisson"},
    "closed": {"connections": 4},
    "pipelined": {"connections": 1, "depth": 4},
}
EVERY = (0.0, 0.01, 0.5, 0.9, 0.95)  # above, one pause of the machine is a percentile

loads = pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())


@loads
@pytest.mark.parametrize("service", [0.005])
def test_a_fixed_delay(tester: str, service: float, load: dict[str, object]) -> None:
    scene = play(Behaviour(service=service), engine=tester, duration=0.5, warmup=0.1, **load)
    result = scene.result
    assert result.errors == {}
    for histogram in (result.response, result.service):
        assert histogram.minimum >= service * SECOND
        for part in EVERY:
            assert histogram.percentile(100 * part) / SECOND == close_to(service, scene)
        assert histogram.mean / SECOND == close_to(service, scene)


def test_two_delays(tester: str) -> None:
    """Every twentieth message takes ten times as long. Each connection has its next message behind
    the reply, at ten a second: nobody waits for another."""
    fast, slow = 0.002, 0.02
    behaviour = Behaviour(service=fast, slow=slow, slow_every=20)
    load = {"connections": 100, "rate": 1000, "duration": 2.0, "warmup": 0}
    scene = play(behaviour, engine=tester, **load)
    assert scene.result.errors == {}
    for part in (
        0.01,
        0.5,
        0.9,
        0.93,
    ):  # a pause moves the step, which is at 0.95, by some messages
        assert scene.response(part) == close_to(fast, scene)
    for part in (0.951, 0.99, 1.0):
        assert scene.response(part) == close_to(slow, scene)
    assert scene.result.response.mean / SECOND == close_to(0.95 * fast + 0.05 * slow, scene)
    between = (fast + slow) / 2 * SECOND
    assert 0.05 <= scene.result.response.above(round(between)) <= 0.06  # a pause may add to it


def test_percentiles_are_within_their_confidence_intervals(tester: str) -> None:
    """Delays by chance that know nothing of each other: each percentile of their distribution lies
    between two order statistics of the run, which the binomial distribution tells."""
    service = 0.02
    behaviour = Behaviour(service=service, exponential=True)
    load = {"connections": 50, "rate": 1000, "arrival": "poisson", "match": "bytes(0,8)"}
    scene = play(behaviour, engine=tester, duration=4.0, warmup=0.2, **load)
    result = scene.result
    assert result.errors == {}
    for part in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        exact = stats.expon.ppf(part, scale=service)
        low, high = (rank / result.sent for rank in ranks(part, result.sent))
        assert 0 < low < high <= 1
        print(
            f"p{100 * part:g} {1000 * scene.response(part):.2f} of {1000 * exact:.2f} ms", end=" "
        )
        assert 0.999 * scene.response(low) - scene.grain <= exact <= 1.001 * scene.response(high)


@pytest.mark.parametrize(
    "load",
    [{"rate": 400, "connections": 2}, {"connections": 2, "depth": 20}],
    ids=["open", "pipelined"],
)
@pytest.mark.parametrize("expect", ["echo", "any"])
def test_replies_that_overtake_others(tester: str, expect: str, load: dict[str, object]) -> None:
    """Every second message of a connection takes a hundred times as long, so the replies to the
    others overtake its reply. An identifier gives each message its own time."""
    fast, slow = 0.001, 0.1
    behaviour = Behaviour(service=fast, slow=slow, slow_every=2)
    matched = {"expect": expect, "match": "bytes(0,8)"}
    scene = play(behaviour, engine=tester, duration=2.0, warmup=0.3, **matched, **load)
    assert scene.result.errors == {}
    for part, delay in ((0.25, fast), (0.75, slow)):
        found, true = scene.response(part), scene.truth(part)
        print(f"p{100 * part:g} {1000 * found:.3f} of {1000 * true:.3f} ms", end=" ")
        assert found == close_to(delay, scene)
        if scene.undisturbed:
            assert found == pytest.approx(true, rel=0.05)
