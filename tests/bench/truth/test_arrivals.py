"""When messages come, by the server's record: as the rate says, whatever becomes of the replies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy import stats

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.models import gaps, percentile
from tests.bench.truth.queues import SELDOM
from tests.bench.truth.scene import Scene, play

AT_ONCE = Behaviour()
STALLED = Behaviour(service=0.001, stall=0.3, stall_at=0.2)  # the schedule waits for no reply

behaviours = pytest.mark.parametrize("behaviour", [AT_ONCE, STALLED], ids=["at-once", "stalled"])


def intended(scene: Scene) -> list[int]:
    """In ns from the first one."""
    first = scene.window[0].intended
    return [entry.intended - first for entry in scene.window]


@behaviours
@pytest.mark.parametrize("connections", [1, 7])
def test_constant_ones_are_evenly_spaced(
    tester: str, behaviour: Behaviour, connections: int
) -> None:
    scene = play(
        behaviour, engine=tester, connections=connections, rate=1000, duration=1, warmup=0.1
    )
    assert scene.result.sent == 1000
    assert all(gap == pytest.approx(SECOND / 1000, abs=2) for gap in gaps(intended(scene)))
    parts = [sum(e.connection == c for e in scene.record) for c in range(connections)]
    assert max(parts) - min(parts) <= 1


@behaviours
def test_poisson_ones_have_exponential_gaps(tester: str, behaviour: Behaviour) -> None:
    """Kolmogorov-Smirnov; and a gap knows nothing of the one before."""
    rate = 1000
    load = {"connections": 10, "rate": rate, "arrival": "poisson", "duration": 2, "warmup": 0.1}
    scene = play(behaviour, engine=tester, **load)
    found = [gap / SECOND for gap in gaps(intended(scene))]
    assert stats.kstest(found, stats.expon(scale=1 / rate).cdf).pvalue > SELDOM
    assert stats.spearmanr(found[:-1], found[1:]).pvalue > SELDOM
    assert SELDOM < stats.poisson(2 * rate).cdf(scene.result.sent) < 1 - SELDOM


@pytest.mark.parametrize(
    ("rate", "due"),
    [
        ("200..1800/2s", lambda t: 200 * t + 400 * t**2),
        ("1500..100/1s", lambda t: 1500 * t - 700 * t**2),
        ("500/1s,1500/1s", lambda t: 500 * t if t < 1 else 500 + 1500 * (t - 1)),
        ("1k/0.5s,100..900/1s", lambda t: 1000 * t if t < 0.5 else ramp_behind(t - 0.5)),
    ],
    ids=["ramp-up", "ramp-down", "steps", "step-and-ramp"],
)
def test_ramps_and_steps_follow_their_profile(
    tester: str, rate: str, due: Callable[[float], float]
) -> None:
    """At each message's time, as many are due as have come, to one."""
    scene = play(AT_ONCE, engine=tester, connections=7, rate=rate, warmup=0)
    times = intended(scene)
    assert all(abs(due(at / SECOND) - number) <= 1 for number, at in enumerate(times))
    seconds = scene.result.workload.seconds
    assert seconds is not None
    assert scene.result.sent == pytest.approx(due(seconds), abs=1)
    assert scene.result.elapsed == pytest.approx(seconds, abs=0.001)


def ramp_behind(t: float) -> float:
    """500 messages, and those of 100..900/1s."""
    return 500 + 100 * t + 400 * t**2


def test_they_come_when_they_are_due(tester: str) -> None:
    """The slip that is reported is the server's own finding, but for the way there."""
    scene = play(AT_ONCE, engine=tester, connections=10, rate=1000, duration=1, warmup=0.1)
    late = [entry.arrived - entry.intended for entry in scene.window]
    slip = scene.result.slip
    assert min(late) >= 0
    for part in (0.5, 0.9, 0.99):
        arrived = percentile(late, part) / SECOND
        assert slip.percentile(100 * part) / SECOND <= arrived * 1.001 + scene.grain
        assert arrived <= slip.percentile(100 * part) / SECOND + scene.grain
