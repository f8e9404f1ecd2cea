"""Runs against queues whose answer is known, on machines of any speed.

The server's queue is virtual: a message arrives in it when it was due, not when it came, and its
reply is due when the queue has done it. So the due times depend on the tester's schedule alone. A
busy machine sends and receives later than that, never earlier: what the tester reports has a lower
limit, which is tested here. The upper one is of `make truth`, which wants an idle machine.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
from scipy import stats

from epollo.engine import available
from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.models import gaps
from tests.bench.truth.queues import SELDOM, Queue, follows, ranks
from tests.bench.truth.scene import Scene, measure_beside_others
from tests.support import DEADLINE

RATE = 2000
WINDOW = 1.5
QUEUES = [
    Queue(rate=RATE, service=0.00025, exponential=True),
    Queue(rate=RATE, service=0.00025),
]
PARTS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


@pytest.fixture(params=available())
def tester(request: pytest.FixtureRequest) -> str:
    """The engine of the tester."""
    return str(request.param)


def scene(behaviour: Behaviour, tester: str, **load: Any) -> Scene:
    """A run of Poisson arrivals without an error."""
    settings = {"rate": RATE, "arrival": "poisson", "duration": WINDOW, "warmup": 0.0}
    settings |= {"connections": 1, "timeout": DEADLINE, "engine": tester}
    found = measure_beside_others(behaviour, **settings | load)
    assert found.result.errors == {}
    assert found.result.messages == found.result.sent == len(found.window)
    return found


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_queue_is_as_slow_as_theory_has_it(tester: str, queue: Queue) -> None:
    """What was due follows the theory, and at no percentile was the tester faster."""
    found = scene(queue.behaviour(virtual=True), tester)
    due = sorted(entry.due - entry.intended for entry in found.window)
    in_order = [(entry.due - entry.intended) / SECOND for entry in found.window]
    assert follows(in_order, queue) > SELDOM
    assert follows(in_order, Queue(rate=RATE, service=0.5 * queue.service)) < SELDOM
    response = found.result.response
    for part in PARTS:
        exact = due[max(0, round(part * len(due)) - 1)]
        assert response.percentile(100 * part) >= 0.999 * exact
    assert response.mean >= fmean(due)


@pytest.mark.parametrize("load", [{}, {"connections": 20}, {"connections": 20, "processes": 2}])
def test_poisson_arrivals_are_a_poisson_process(tester: str, load: dict[str, int]) -> None:
    """By the due times in the messages that came, also if several processes share the load."""
    found = scene(Behaviour(exact=False), tester, **load)
    between = [gap / SECOND for gap in gaps([entry.intended for entry in found.window])]
    assert stats.kstest(between, stats.expon(scale=1 / RATE).cdf).pvalue > SELDOM
    assert stats.spearmanr(between[:-1], between[1:]).pvalue > SELDOM
    assert SELDOM < stats.poisson(RATE * WINDOW).cdf(found.result.sent) < 1 - SELDOM


def test_no_percentile_is_below_its_confidence_interval(tester: str) -> None:
    """Independent delays by chance: each percentile of their distribution lies below the order
    statistic that the binomial distribution tells, but once in a million times."""
    behaviour = Behaviour(service=0.02, exponential=True, virtual=True, exact=False)
    found = scene(behaviour, tester, match="bytes(0,8)")
    count = found.result.sent
    delays = [(entry.due - entry.intended) / SECOND for entry in found.window]
    assert stats.kstest(delays, stats.expon(scale=0.02).cdf).pvalue > SELDOM
    for part in (0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        exact = stats.expon.ppf(part, scale=0.02)
        _, high = ranks(part, count)
        assert exact <= 1.001 * found.response(high / count)


def test_a_closed_loop_is_no_faster_than_its_server(tester: str) -> None:
    """Each connection waits for its reply, so the service time limits the rate."""
    service, connections = 0.01, 4
    load = {"rate": None, "arrival": "constant", "connections": connections, "duration": 0.5}
    result = scene(Behaviour(service=service, exact=False), tester, **load).result
    assert result.response.minimum >= service * SECOND
    assert result.messages <= connections * (0.5 / service + 1)
    assert result.concurrency <= 1.001 * connections
