"""Each kind of wrong reply is counted as what it is, as often as the server's record has it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.scene import Scene, measure

SERVICE = 0.005
TIMEOUT = 0.3
COUNTED_AS = {
    "flip": "wrong_bytes",
    "flip_number": "wrong_bytes",
    "shorten": "short",
    "repeat": "duplicate",
    "swap": "wrong_order",
    "swallow": "unanswered",
    "extra": "extra",
    "late": "unanswered",
}
LOADS: dict[str, dict[str, Any]] = {
    "open": {"connections": 3, "rate": 1000, "duration": 0.7},
    "poisson": {"connections": 3, "rate": 1000, "arrival": "poisson", "duration": 0.7},
    "closed": {"connections": 3, "depth": 4, "messages": 700, "duration": None},
}

loads = pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())


def corrupt(tester: str, load: dict[str, Any], *deeds: str) -> Scene:
    """A run in which every 13th of the first 500 replies has one of the deeds done to it."""
    behaviour = Behaviour(service=SERVICE, deeds=deeds, every=13, until=500, late=2 * TIMEOUT)
    return measure(behaviour, engine=tester, timeout=TIMEOUT, warmup=0, **load)


def expected(scene: Scene) -> Counter[str]:
    """The errors that the server's record calls for."""
    errors: Counter[str] = Counter()
    for deed, times in scene.deeds.items():
        errors[COUNTED_AS[deed]] += times
    return errors


@pytest.mark.parametrize("load", [LOADS["open"], LOADS["closed"]], ids=["open", "closed"])
@pytest.mark.parametrize("deed", COUNTED_AS)
def test_each_fault_is_counted_as_what_it_is(tester: str, deed: str, load: dict[str, Any]) -> None:
    scene = corrupt(tester, load, deed)
    assert scene.deeds[deed] == 500 // 13
    assert scene.result.errors == expected(scene)
    assert scene.result.failed
    assert scene.result.response.minimum >= SERVICE * SECOND  # no other reply is taken for it
    if COUNTED_AS[deed] == "unanswered":
        assert_the_lost_are_at_the_top(scene, scene.deeds[deed])


def assert_the_lost_are_at_the_top(scene: Scene, lost: int) -> None:
    """With the time that they were waited for, which is the least that they took."""
    response = scene.result.response
    assert response.total == scene.result.sent
    assert round(response.above(round(0.99 * TIMEOUT * SECOND)) * response.total) == lost
    answered = 100 * (1 - (lost + 0.5) / response.total)
    assert response.percentile(answered) < TIMEOUT * SECOND


@loads
def test_all_of_them_together(tester: str, load: dict[str, Any]) -> None:
    scene = corrupt(tester, load, *COUNTED_AS)
    assert len(scene.deeds) == len(COUNTED_AS)
    assert scene.result.errors == expected(scene)
    assert_the_lost_are_at_the_top(scene, scene.deeds["swallow"] + scene.deeds["late"])
