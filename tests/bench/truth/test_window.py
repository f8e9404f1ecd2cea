"""What counts, and what does not: by the time that a message was meant to be sent at."""

from __future__ import annotations

import pytest

from tests.bench.truth.behaviour import SECOND, Behaviour
from tests.bench.truth.scene import play

RATE = 500


def test_the_warm_up_is_excluded_by_intended_time(tester: str) -> None:
    """The server stalls to the end of the warm-up: all of its backlog is answered, as the window
    begins, and none of it is in the figures."""
    warmup, service = 0.5, 0.002
    behaviour = Behaviour(service=service, stall=0.25, stall_at=0.25 - service)
    load = {"connections": 5, "rate": RATE, "duration": 0.5, "warmup": warmup}
    scene = play(behaviour, engine=tester, **load)
    window = scene.window
    assert scene.result.sent == RATE * 0.5
    assert len(scene.record) == RATE * (0.5 + warmup) + 5  # which open the connections
    before = scene.record[: -scene.result.sent]
    assert max(entry.response for entry in before) > 0.2 * SECOND
    assert max(entry.response for entry in window) < 0.2 * SECOND
    assert scene.result.response.maximum < 0.2 * SECOND
    assert scene.result.elapsed == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("load", [{"rate": RATE}, {}], ids=["open", "closed"])
def test_replies_that_come_after_the_end_are_in_the_figures(
    tester: str, load: dict[str, float]
) -> None:
    """Every message of the window is still under way at its end."""
    late = 0.6
    behaviour = Behaviour(service=late)
    scene = play(behaviour, engine=tester, connections=5, duration=0.4, warmup=0, timeout=5, **load)
    result = scene.result
    assert result.errors == {}
    assert result.messages == result.sent == result.response.total
    assert result.sent == (RATE * 0.4 if "rate" in load else 5)
    assert result.response.minimum >= late * SECOND
    assert result.elapsed == pytest.approx(0.4, abs=0.001)


def test_a_server_that_falls_behind_is_as_fast_as_it_answers(tester: str) -> None:
    """It takes half of what is wanted. All of its backlog is answered in the end, behind the
    window, and none of that is in the rate, nor in a second."""
    service = 0.004
    behaviour = Behaviour(service=service, queue=True)
    load = {"connections": 5, "rate": RATE, "duration": 1.2, "warmup": 0.2, "timeout": 5}
    scene = play(behaviour, engine=tester, **load)
    result = scene.result
    assert result.messages == result.sent == RATE * 1.2
    begin = scene.window[0].intended
    end = begin + result.elapsed * SECOND
    answered = sum(begin <= entry.sent < end for entry in scene.record)
    assert answered < 0.7 * result.sent
    # A tester that gets the processor late has seen a little less by then.
    assert sum(second.messages for second in result.seconds) == pytest.approx(answered, rel=0.1)
    assert result.rate == pytest.approx(answered / result.elapsed, rel=0.1)


def test_those_that_do_not_come_in_time_are_unanswered(tester: str) -> None:
    """The server answers those that open the connections, and no other. None is dropped: the
    figures are of the wait."""
    timeout = 0.6
    load = {"connections": 5, "rate": RATE, "duration": 0.4, "warmup": 0, "timeout": timeout}
    behaviour = Behaviour(deeds=("swallow",), since=5, until=10**9)
    result = play(behaviour, engine=tester, **load).result
    assert result.messages == 0
    assert result.errors == {"unanswered": RATE * 0.4}
    assert result.sent == result.response.total == RATE * 0.4
    assert result.response.minimum >= 0.99 * timeout * SECOND
