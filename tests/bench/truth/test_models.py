"""The formulas are true of simulated behaviours, so the tester may be compared with them."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from scipy import integrate, stats

from tests.bench.truth import models
from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.models import percentile, responses
from tests.bench.truth.queues import SELDOM, Queue, follows, ranks

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


QUEUES = [
    Queue(rate=RATE, service=0.0005, exponential=True),
    Queue(rate=RATE, service=0.0005),
    Queue(rate=RATE, service=0.0008),
]


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: f"{queue.name}-{queue.utilisation}")
def test_a_queue(queue: Queue) -> None:
    """Within four standard errors; which are no more than some percent for so many."""
    messages = 20_000
    found = responses(queue.behaviour(seed=7), models.poisson(RATE, messages, seed=8))
    for part in (0.5, 0.9, 0.99):
        expected = queue.response_percentile(part)
        mean, error = models.queue_spread(part, queue, messages=messages, runs=20)
        assert error < 0.2 * expected
        assert percentile(found, part) / SECOND == pytest.approx(expected, abs=4 * error)
        assert mean == pytest.approx(expected, abs=4 * error / math.sqrt(20))


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: f"{queue.name}-{queue.utilisation}")
def test_a_queues_distribution(queue: Queue) -> None:
    """Kolmogorov-Smirnov, the mean of Pollaczek and Khinchine, and a percentile's own time; and
    another queue is told from it."""
    found = [
        time / SECOND
        for time in responses(queue.behaviour(seed=3), models.poisson(RATE, 200_000, seed=4))
    ]
    assert follows(found, queue) > SELDOM
    assert follows(found, replace(queue, service=0.8 * queue.service)) < SELDOM
    assert follows(found, replace(queue, exponential=not queue.exponential)) < SELDOM
    assert fmean(found) == pytest.approx(queue.response_mean, rel=0.05)
    for part in (0.7, 0.9, 0.99, 0.999):
        time = queue.response_percentile(part)
        if time > queue.service:  # an idle server has a whole part of the messages in one point
            assert queue.response(time) == pytest.approx(part)


def test_the_distribution_of_waiting_has_the_mean_of_pollaczek_and_khinchine() -> None:
    for queue in QUEUES:
        assert queue.waiting(0) == pytest.approx(1 - queue.utilisation)
        times = np.linspace(0, 25 * queue.service, 5000)
        waits = integrate.trapezoid([1 - queue.waiting(time) for time in times], times)
        assert waits == pytest.approx(queue.waiting_mean, rel=0.02)


def test_the_order_statistics_around_a_percentile() -> None:
    """Of 1000 times 500 values, the median lies outside of a 99 % interval about ten times."""
    low, high = ranks(0.5, 500, error=0.01)
    below = np.random.default_rng(5).binomial(500, 0.5, 1000)
    outside = np.count_nonzero((below < low) | (below >= high))
    assert stats.binomtest(outside, 1000, 0.01).pvalue > 0.001
    assert ranks(0.5, 3) == (0, 4)  # so few know nothing


def test_a_part_is_slow() -> None:
    behaviour = Behaviour(service=0.002, slow=0.02, slow_every=20)
    found = responses(behaviour, models.constant(RATE, 1000))
    assert [percentile(found, part) for part in (0.5, 0.949, 0.95)] == [2_000_000] * 3
    assert [percentile(found, part) for part in (0.951, 1.0)] == [20_000_000] * 2


def test_deeds_come_in_turn_and_end() -> None:
    behaviour = Behaviour(deeds=("flip", "late"), every=3, until=9)
    assert [behaviour.deed(n) for n in range(1, 14)] == [0, 0, 1, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0]
