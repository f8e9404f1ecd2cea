"""The verdicts on made-up figures: a claim holds, holds in part, or does not hold."""

from __future__ import annotations

import pytest

from epollo.lab.backlog import QueueResult
from epollo.lab.claims import Holds, judge_growth, judge_limit, judge_queue
from epollo.lab.clients import Attempt
from epollo.lab.pollers import WakeUp
from epollo.lab.select_end import SelectEnd


def wake_up(poller: str, idle: int, microseconds: float) -> WakeUp:
    median = microseconds * 1e-6
    return WakeUp(poller, idle, idle + 1, None, 100, median, median, median)


def growing(select: tuple[float, float], epoll: tuple[float, float]) -> list[WakeUp]:
    """With 10 and 1,000 idle connections, in microseconds; select refuses 2,000."""
    return [
        wake_up("epoll", 10, epoll[0]),
        wake_up("epoll", 1000, epoll[1]),
        wake_up("epoll", 2000, epoll[1]),
        wake_up("select", 10, select[0]),
        wake_up("select", 1000, select[1]),
        WakeUp("select", 2000, watched=1016, refused=1024),
    ]


def queue_result(queue: int, prompt: int, late: int, connected: int, lost: int = 0) -> QueueResult:
    """Numbers of clients: replied within a second, later, connected without reply, lost."""
    attempts = [Attempt(0.01, 0.3, None)] * prompt + [Attempt(1.01, 2.5, None)] * late
    attempts += [Attempt(1.01, None, None)] * connected + [Attempt(None, None, None)] * lost
    return QueueResult(queue, queue, 10.0, 0.003, attempts, {})


ENOUGH = queue_result(100, 100, 0, 0)


def test_the_limit_holds_if_both_refuse() -> None:
    verdict = judge_limit(
        SelectEnd(1023, 1024, "select cannot", "out of range"), growing((2, 100), (1, 1))
    )
    assert verdict.holds is Holds.YES
    assert "watched descriptor 1023 and refused 1024" in verdict.why
    assert "out of range" in verdict.why
    assert "epoll 2,001" in verdict.why


@pytest.mark.parametrize("says", [(None, "out of range"), ("select cannot", None), (None, None)])
def test_the_limit_does_not_hold_if_one_watches(says: tuple[str | None, str | None]) -> None:
    verdict = judge_limit(SelectEnd(1023, 1024, *says), [])
    assert verdict.holds is Holds.NO
    assert "1024" in verdict.why


@pytest.mark.parametrize(
    ("select", "epoll", "holds"),
    [
        ((2, 100), (1, 1.1), Holds.YES),
        ((2, 100), (1, 50), Holds.IN_PART),
        ((2, 2.1), (1, 1), Holds.IN_PART),
        ((2, 2.1), (1, 50), Holds.NO),
    ],
)
def test_the_growth(select: tuple[float, float], epoll: tuple[float, float], holds: Holds) -> None:
    assert judge_growth(growing(select, epoll)).holds is holds


def test_the_growth_is_given_in_figures() -> None:
    verdict = judge_growth(growing((2, 100), (1, 1)))
    assert "select 2 µs with 10 idle connections and 100 µs with 1,000 (50 times)" in str(verdict)
    assert "epoll 1 µs with 10 idle connections and 1 µs with 2,000 (1.0 times)" in str(verdict)


def test_no_growth_is_seen_in_a_narrow_range_or_without_a_poller() -> None:
    narrow = [wake_up(name, idle, 1) for name in ("epoll", "select") for idle in (5, 20)]
    without_epoll = growing((2, 100), (1, 1))[3:]
    for figures in (narrow, without_epoll):
        assert judge_growth(figures).holds is Holds.UNKNOWN


@pytest.mark.parametrize(
    ("short", "enough", "holds"),
    [
        (queue_result(10, 11, 44, 45), ENOUGH, Holds.YES),
        (queue_result(10, 11, 44, 0, 45), ENOUGH, Holds.YES),
        (queue_result(10, 11, 89, 0), ENOUGH, Holds.IN_PART),
        (queue_result(10, 100, 0, 0), ENOUGH, Holds.NO),
        (queue_result(10, 11, 44, 45), queue_result(100, 90, 10, 0), Holds.IN_PART),
        (queue_result(10, 11, 89, 0), queue_result(100, 90, 10, 0), Holds.NO),
    ],
)
def test_the_queue(short: QueueResult, enough: QueueResult, holds: Holds) -> None:
    verdict = judge_queue([short, enough])
    assert verdict.holds is holds
    assert str(verdict).startswith('Claim 3, "100 clients at once')


def test_the_queue_is_given_in_figures() -> None:
    verdict = judge_queue([queue_result(10, 11, 44, 40, 5), ENOUGH])
    assert verdict.why == (
        "with a queue of 10, 11 of 100 clients had a reply within a second, 44 later, the last "
        "after 2.5 s, and 45 none in 10 s (the connect of 40 of these had succeeded); "
        "with a queue of 100, all 100 clients had a reply within a second, the last after 300 ms"
    )


def test_the_queue_takes_the_one_nearest_to_a_tenth_of_the_clients() -> None:
    rows = [queue_result(1, 2, 0, 98), queue_result(10, 11, 89, 0), ENOUGH]
    assert judge_queue(rows).holds is Holds.IN_PART


def test_the_queue_claim_is_unknown_without_both_kinds() -> None:
    # A queue of 99 takes 100 connections: it is neither too short nor of the asked length.
    for rows in ([ENOUGH], [queue_result(10, 11, 89, 0)], [queue_result(99, 100, 0, 0), ENOUGH]):
        assert judge_queue(rows).holds is Holds.UNKNOWN
