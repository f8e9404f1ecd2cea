"""The formulas are true of simulated behaviours, so the tester may be compared with them."""

from __future__ import annotations

import math
import random

import pytest

from tests.bench.truth import models
from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.models import percentile, responses

RATE = 1000.0
PARTS = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def test_the_table_of_the_documentation() -> None:
    table = {"service": 0.001, "stall": 1.0, "window": 30.0}
    found = [models.stall_percentile(part, **table) for part in (0.95, 0.99, 0.999)]
    assert found == pytest.approx([0.001, 0.701, 0.971])
    assert models.stall_mean(**table) == pytest.approx(0.0177, abs=0.0001)


@pytest.mark.parametrize("utilisation", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("stall", [0.1, 0.5, 1.0])
def test_a_stall(utilisation: float, stall: float) -> None:
    """To one gap between messages, and one service: so coarse are the arrivals."""
    window = 20.0
    service = utilisation / RATE
    behaviour = Behaviour(
        service=service or 0.001, queue=utilisation > 0, stall=stall, stall_at=3.0
    )
    found = responses(behaviour, models.constant(RATE, round(window * RATE)))
    wanted = {"service": behaviour.service, "stall": stall, "window": window}
    for part in PARTS:
        expected = models.stall_percentile(part, utilisation=utilisation, **wanted)
        assert percentile(found, part) / SECOND == pytest.approx(expected, abs=0.0025)
    mean = models.stall_mean(utilisation=utilisation, **wanted)
    assert sum(found) / len(found) / SECOND == pytest.approx(mean, rel=0.02)


def test_a_queue() -> None:
    """M/M/1, within four standard errors; which are no more than a few percent for so many."""
    service, messages = 0.0005, 20_000
    behaviour = Behaviour(service=service, exponential=True, queue=True, seed=7)
    found = responses(behaviour, models.poisson(RATE, messages, seed=8))
    for part in (0.5, 0.9, 0.99):
        expected = models.queue_percentile(part, service=service, rate=RATE)
        mean, error = models.queue_spread(
            part, service=service, rate=RATE, messages=messages, runs=20
        )
        assert error < 0.1 * expected
        assert percentile(found, part) / SECOND == pytest.approx(expected, abs=4 * error)
        assert mean == pytest.approx(expected, abs=4 * error / math.sqrt(20))


def test_a_part_is_slow() -> None:
    behaviour = Behaviour(service=0.002, slow=0.02, slow_every=20)
    found = responses(behaviour, models.constant(RATE, 1000))
    assert [percentile(found, part) for part in (0.5, 0.949, 0.95)] == [2_000_000] * 3
    assert [percentile(found, part) for part in (0.951, 1.0)] == [20_000_000] * 2


def test_exponential_gaps_are_told_from_others() -> None:
    chance = random.Random(1)  # noqa: S311
    right = [chance.expovariate(5) for _ in range(2000)]
    allowed = models.distance_allowed(2000)
    assert models.distance_from_exponential(right, 1 / 5) < allowed
    assert models.distance_from_exponential(right, 1.2 / 5) > allowed
    assert models.distance_from_exponential([0.2] * 2000, 1 / 5) > allowed


def test_deeds_come_in_turn_and_end() -> None:
    behaviour = Behaviour(deeds=("flip", "late"), every=3, until=9)
    assert [behaviour.deed(n) for n in range(1, 14)] == [0, 0, 1, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0]
