"""Poisson arrivals at a single server: M/M/1 and M/D/1, known in closed form."""

from __future__ import annotations

import pytest

from tests.bench.truth import models
from tests.bench.truth.behaviour import SECOND
from tests.bench.truth.queues import Queue
from tests.bench.truth.scene import close_to, play

QUEUES = [
    Queue(rate=500, service=0.001, exponential=True),
    Queue(rate=500, service=0.001),
]
PARTS = (0.5, 0.9, 0.99)

queues = pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)


@pytest.mark.parametrize(
    ("window", "runs"),
    [
        pytest.param(4.0, 50, id="short"),
        pytest.param(30.0, 10, id="long", marks=pytest.mark.slow),
    ],
)
@queues
def test_a_poisson_queue(tester: str, queue: Queue, window: float, runs: int) -> None:
    """By the record, to 5 %; by the formula, to four standard errors of a run so long."""
    load = {"connections": 10, "rate": queue.rate, "arrival": "poisson"}
    scene = play(queue.behaviour(), engine=tester, duration=window, warmup=0.2, **load)
    assert scene.result.errors == {}
    for part in PARTS:
        found = scene.response(part)
        assert found == close_to(scene.truth(part), scene)
        expected = queue.response_percentile(part)
        _, error = models.queue_spread(part, queue, messages=scene.result.sent, runs=runs)
        print(f"p{100 * part:g} {1000 * found:.2f} of {1000 * expected:.2f} ms", end=" ")
        assert found == pytest.approx(expected, abs=4 * error + 0.05 * expected + scene.grain)
    assert scene.result.response.mean / SECOND == close_to(scene.true_mean, scene)


@queues
def test_the_server_did_what_the_theory_says(tester: str, queue: Queue) -> None:
    """Else the record would prove nothing: Lindley's recursion over the recorded arrivals."""
    load = {"connections": 10, "rate": queue.rate, "arrival": "poisson"}
    scene = play(queue.behaviour(), engine=tester, duration=0.5, warmup=0, **load)
    came = sorted(scene.record, key=lambda entry: entry.due)  # first come, first served
    wanted = models.responses(queue.behaviour(), [entry.arrived for entry in came])
    assert [entry.due - entry.arrived for entry in came] == wanted
