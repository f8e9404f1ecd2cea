"""A server that stalls once: what the tester says of it, and what a closed loop would have said.

The formulas, and what they are true of, are in `models.py`. The full table takes minutes and is run
by `make truth`; here it is scaled down, with the same part of the time stalled.
"""

from __future__ import annotations

import pytest

from epollo.bench.results.histogram import Histogram
from tests.bench.truth import models
from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.scene import Scene, close_to, play

RATE = 1000
CONNECTIONS = 10
SERVICE = 0.001
PACE = CONNECTIONS / RATE - SERVICE  # of think time, for the same rate
WARMUP = 0.2
PARTS = (0.5, 0.95, 0.99, 0.999)

tables = pytest.mark.parametrize(
    ("window", "stall"),
    [
        pytest.param(3.0, 0.1, id="scaled"),
        pytest.param(30.0, 1.0, id="full", marks=pytest.mark.slow),
    ],
)


def stalling(
    window: float, stall: float, service: float = SERVICE, queue: bool = False
) -> Behaviour:
    """A server that stalls in the first half of the window."""
    return Behaviour(service=service, queue=queue, stall=stall, stall_at=WARMUP + window / 4)


def over(histogram: Histogram, seconds: float) -> int:
    """How many values are above that."""
    return round(histogram.above(round(seconds * SECOND)) * histogram.total)


def report(scene: Scene, what: str) -> None:
    """The row of the table; pytest -s shows it."""
    row = [1000 * scene.result.response.mean / SECOND]
    row += [1000 * scene.response(part) for part in PARTS]
    names = ("mean", *(f"p{100 * part:g}" for part in PARTS))
    print(f"\n{what}:", *(f"{n} {v:.2f}" for n, v in zip(names, row, strict=True)), "ms", end=" ")


@tables
def test_an_open_loop_reports_the_stall_as_all_who_came_in_it_saw_it(
    tester: str, window: float, stall: float
) -> None:
    load = {"connections": CONNECTIONS, "rate": RATE, "duration": window, "warmup": WARMUP}
    scene = play(stalling(window, stall), engine=tester, **load)
    report(scene, "open loop")
    assert scene.result.sent == RATE * window
    assert scene.result.errors == {}
    model = {"service": SERVICE, "stall": stall, "window": window}
    for part in PARTS:
        assert scene.response(part) == close_to(models.stall_percentile(part, **model), scene)
        assert scene.response(part) == close_to(scene.truth(part), scene)
    mean = scene.result.response.mean / SECOND
    assert mean == close_to(models.stall_mean(**model), scene)
    assert mean == close_to(scene.true_mean, scene)
    half = RATE * stall / 2
    assert over(scene.result.response, stall / 2) == pytest.approx(half, rel=0.05)


def test_what_came_in_it_delays_what_came_behind_it_where_the_server_works(tester: str) -> None:
    """The same stall of a server that is busy for half of its time: the backlog takes as long
    again, and the excess is twice as large."""
    window, stall, rate = 3.0, 0.15, 500
    load = {"connections": CONNECTIONS, "rate": rate, "duration": window, "warmup": WARMUP}
    scene = play(stalling(window, stall, queue=True), engine=tester, **load)
    report(scene, "at half load")
    model = {"service": SERVICE, "stall": stall, "window": window, "utilisation": rate * SERVICE}
    for part in PARTS:
        assert scene.response(part) == close_to(models.stall_percentile(part, **model), scene)
    assert scene.result.response.mean / SECOND == close_to(models.stall_mean(**model), scene)


@pytest.mark.parametrize(
    ("window", "stall", "think"),
    [
        pytest.param(3.0, 0.1, 0.0, id="scaled"),
        pytest.param(30.0, 1.0, 0.0, id="full", marks=pytest.mark.slow),
        pytest.param(30.0, 1.0, PACE, id="full-paced", marks=pytest.mark.slow),
    ],
)
def test_a_closed_loop_hides_it(tester: str, window: float, stall: float, think: float) -> None:
    """Each connection waits for its reply, as those of most tools do: one message of each sees the
    stall, the others are never sent. True of what it measured, and useless: the contrast."""
    load = {"connections": CONNECTIONS, "duration": window, "warmup": WARMUP, "think": think}
    scene = play(stalling(window, stall), engine=tester, **load)
    report(scene, "closed loop" if not think else "closed loop with think time")
    result = scene.result
    assert result.errors == {}
    assert over(result.response, stall / 2) == CONNECTIONS
    for part in (0.5, 0.95, 0.99):
        assert scene.response(part) == close_to(SERVICE, scene)
    mean = models.waiting_mean(
        service=SERVICE, stall=stall, messages=result.sent, connections=CONNECTIONS
    )
    assert result.response.mean / SECOND == close_to(mean, scene)
