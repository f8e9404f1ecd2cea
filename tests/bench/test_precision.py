"""A run ends when it knows its figures: and then they are as near to the truth as it says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from epollo.bench.load.goals import parse_goals
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.precision import Precision, Windows
from epollo.bench.results.result import Result
from epollo.bench.results.verdict import Verdict
from tests.bench.latencies import Drifting, Independent, Model, Queue, seconds_of
from tests.bench.support import made_up

AFTER = 7  # seconds between the end of a second and its close, which a run still measures


def played(
    model: Model, goal: str, chance: np.random.Generator, most: int
) -> tuple[int, Precision]:
    """A run of ``model`` that ends as a real one does: its seconds, and what it says."""
    windows, last = Windows(parse_goals(goal)), most
    for number, second in enumerate(seconds_of(model, chance, most), 1):
        if windows.append(second):
            last = min(last, number + AFTER)
        if number == last:
            break
    return last, windows.precisions()[0]


def coverage(model: Model, goal: str, most: int, runs: int) -> tuple[float, float]:
    """In which part of such runs the interval has the true figure, and which part reached the
    goal."""
    chance = np.random.default_rng(11)
    [parsed] = parse_goals(goal)
    truth = model.mean() if parsed.percent is None else model.percentile(parsed.percent / 100)
    found = [played(model, goal, chance, most)[1] for _ in range(runs)]
    right = [(each.low or 0.0) <= truth <= (each.high or math.inf) for each in found]
    return sum(right) / runs, sum(each.reached for each in found) / runs


def test_the_interval_has_the_true_figure_though_the_run_chose_its_end() -> None:
    """In 95 % of the runs; by chance in 88 % of so few, at least."""
    right, reached = coverage(Independent(rate=50), "mean±3%", most=300, runs=60)
    assert right >= 0.88
    assert reached >= 0.85


@pytest.mark.truth
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("model", "goal", "most", "least"),
    [
        pytest.param(Independent(rate=50), "mean±2%", 400, 0.93, id="mean"),
        pytest.param(Independent(rate=100), "p99±10%", 200, 0.92, id="p99"),
        pytest.param(Queue(rate=200, service=300), "mean±5%", 600, 0.92, id="queue mean"),
        pytest.param(Queue(rate=100, service=150), "p99±15%", 300, 0.88, id="queue p99"),
        pytest.param(Drifting(rate=20, memory=0.7, spread=0.3), "mean±10%", 600, 0.90, id="drift"),
    ],
)
def test_the_coverage_of_runs_that_choose_their_end(
    model: Model, goal: str, most: int, least: float
) -> None:
    right, reached = coverage(model, goal, most, runs=300)
    print(
        f"{goal}: {100 * right:.1f} % of the intervals have the truth, {reached:.2f} reached",
        end=" ",
    )
    assert right >= least


def test_a_run_does_not_end_before_it_has_enough_seconds() -> None:
    """However equal they are: chance may make a few equal."""
    windows = Windows(parse_goals("p50±50%"))
    ended = [
        windows.append(second)
        for second in seconds_of(Independent(1000), np.random.default_rng(1), 30)
    ]
    assert ended.index(True) + 1 >= 13


def test_all_goals_have_to_be_reached() -> None:
    """One of them needs more messages above it than there are."""
    windows = Windows(parse_goals("mean±50%,p99.9999±50%"))
    seconds = seconds_of(Independent(200), np.random.default_rng(1), 60)
    assert not any(windows.append(second) for second in seconds)
    mean, rare = windows.precisions()
    assert mean.reached
    assert (rare.value, rare.reached, rare.distance) == (None, False, math.inf)


def test_a_long_run_has_no_more_windows_than_a_short_one() -> None:
    windows = Windows(parse_goals("mean±0.2%,rate±0.01%"))
    for second in seconds_of(Independent(20), np.random.default_rng(1), 2000):
        windows.append(second)
        assert len(windows._windows) <= 240
    mean, rate = windows.precisions()
    assert mean.value == pytest.approx(Independent(20).mean(), rel=0.05)
    assert rate.value == pytest.approx(20, rel=0.05)
    assert sum(window.messages for window in windows._windows) == pytest.approx(40_000, rel=0.05)


def test_late_replies_are_in_the_figure() -> None:
    windows = Windows(parse_goals("p50±50%"))
    for second in seconds_of(Independent(100), np.random.default_rng(1), 20):
        windows.append(second)
    late = Histogram()
    late.record_many(10**9, 4000)
    windows.amend((late, late, Histogram()))
    assert windows.precisions()[0].value == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("seconds", [1, 12])
def test_a_short_run_does_not_know_how_precise_it_is(seconds: int) -> None:
    """One second differs from no other; a few may be equal by chance."""
    windows = Windows(parse_goals("p50±50%,mean±50%,rate±50%"))
    for second in seconds_of(Independent(1000), np.random.default_rng(1), seconds):
        windows.append(second)
    for known in windows.precisions():
        assert known.value is not None
        assert (known.low, known.high, known.reached) == (None, None, False)


def test_seconds_without_a_message_are_no_error() -> None:
    windows = Windows(parse_goals("p99±5%,mean±5%,rate±5%"))
    second = made_up(seconds=1, per_second=0).seconds[0]
    assert not any(windows.append(second) for _ in range(30))
    assert [each.value for each in windows.precisions()] == [None, None, None]


KNOWN: dict[str, Any] = {"goal": "p99±5%", "figure": "p99", "within": 0.05}
PRECISE = Precision(**KNOWN, value=0.01, low=0.0097, high=0.0104)
ROUGH = Precision(**KNOWN, value=0.01, low=0.009, high=0.012)


def measured(*precision: Precision) -> Result:
    return replace(made_up(duration=60.0, until="p99±5%"), precision=precision)


@pytest.mark.parametrize(
    ("precision", "failed", "words"),
    [
        (PRECISE, False, "p99 is 10 ms ±4 % (p99±5%); "),
        (ROUGH, True, "FAILED: p99 is 10 ms ±20 %, not within 5 % (p99±5%); "),
        (
            replace(PRECISE, high=None),
            True,
            "FAILED: p99 is 10 ms with no upper bound, not within 5 % (p99±5%); ",
        ),
        (
            replace(PRECISE, low=None, high=None),
            True,
            "FAILED: p99 is 10 ms, but the run was too short to tell how precise that is (p99",
        ),
        (
            Precision(**KNOWN, value=None, low=None, high=None),
            True,
            "FAILED: p99 is not known: too few messages (p99±5%); ",
        ),
    ],
)
def test_the_verdict_says_how_precise_it_is(precision: Precision, failed: bool, words: str) -> None:
    verdict = Verdict.of(measured(precision))
    assert str(verdict).startswith(words)
    assert verdict.failed is failed
    assert ("ended after" in str(verdict)) is failed  # of a minute, it measured 5 seconds


def test_a_result_keeps_its_precision() -> None:
    result = measured(PRECISE, replace(ROUGH, high=None))
    assert Result.from_json(result.to_json()).precision == result.precision
    assert Result.from_json(made_up().to_json()).precision == ()
