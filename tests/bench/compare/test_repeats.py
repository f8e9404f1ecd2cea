"""Repeats as a baseline: their interval is that of Student's t, and as often right as it says.

The oracle is scipy."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from scipy import stats

from epollo.bench.compare import conditions
from epollo.bench.compare.estimates import of_repeated_faults, of_repeats, student
from epollo.bench.compare.ratios import HIGHER, LOWER, SAME, Comparison, compare
from epollo.bench.results.result import Result
from tests.bench.simulation import Kind, alarms
from tests.bench.support import made_up

TRIALS = 250
VARIED = Kind(seconds=1, messages=200, between=0.1)
UNLIKELY = 1e-4  # a test of this probability fails by chance once in 10,000 seeds


def runs(kind: Kind, count: int, seed: int) -> list[Result]:
    chance = random.Random(seed)  # noqa: S311
    return [kind.run(chance) for _ in range(count)]


def interval(comparison: Comparison, name: str) -> tuple[float, float]:
    change = next(row for row in comparison.rows if row.name == name).changes[0]
    assert change.low is not None
    assert change.high is not None
    return change.low, change.high


def means_ms(side: list[Result]) -> list[float]:
    return [math.log(run.response.mean) for run in side]


@pytest.mark.parametrize(("baseline", "candidate"), [(2, 2), (3, 3), (5, 3), (5, 5), (8, 2)])
def test_two_sides_have_the_interval_of_welch(baseline: int, candidate: int) -> None:
    """Not narrower; wider by what a table of Student's t rounds up."""
    for seed in range(20):
        sides = [runs(VARIED, baseline, seed), runs(VARIED, candidate, seed + 1000)]
        low, high = interval(compare(sides), "mean")
        exact = stats.ttest_ind(
            means_ms(sides[1]), means_ms(sides[0]), equal_var=False
        ).confidence_interval(0.95)
        width, wanted = math.log(high / low), exact.high - exact.low
        assert math.log(high * low) / 2 == pytest.approx((exact.high + exact.low) / 2)
        assert wanted * 0.999 <= width <= wanted * 1.19


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_a_single_run_is_held_against_the_prediction_interval_of_the_repeats(count: int) -> None:
    baseline, candidate = runs(VARIED, count, seed=1), runs(VARIED, 1, seed=2)
    logs = means_ms(baseline)
    spread = stats.tstd(logs) * math.sqrt(1 + 1 / count)
    wanted = stats.t.interval(
        0.95, count - 1, loc=means_ms(candidate)[0] - stats.tmean(logs), scale=spread
    )
    found = interval(compare([baseline, candidate]), "mean")
    assert [math.log(bound) for bound in found] == pytest.approx(list(wanted), rel=1e-3)


@pytest.mark.parametrize("repeats", [(5, 1), (5, 5)])
def test_a_false_alarm_is_as_rare_as_the_interval_says(repeats: tuple[int, int]) -> None:
    """Runs differ by 10 %; 2.5 % of comparisons are to say "higher", and 2.5 % "lower"."""
    found = alarms(VARIED, repeats, TRIALS, seed=4)
    for name in ("rate", "mean", "p50", "p99"):
        higher, same = found[f"{name} {HIGHER}"], found[f"{name} {SAME}"]
        assert stats.binomtest(higher, TRIALS, 0.025).pvalue > UNLIKELY, (name, higher)
        assert stats.binomtest(same, TRIALS, 0.95).pvalue > UNLIKELY, (name, same)


def test_single_runs_do_not_know_how_runs_differ() -> None:
    """Why a baseline should be repeats: the seconds of two runs agree, and the runs do not."""
    steady = Kind(seconds=10, messages=100, spread=0.0, between=0.1)
    found = alarms(steady, (1, 1), 30, seed=5)
    assert found[f"mean {HIGHER}"] > 30 * 0.15


def test_a_real_difference_is_found() -> None:
    slower = replace(VARIED, slower=4.0)
    higher = conditions.parse("p50 higher")
    found = 0
    for seed in range(40):
        comparison = compare([runs(VARIED, 5, seed), runs(slower, 1, seed + 100)])
        found += bool(list(higher.broken(comparison, "baseline")))
    assert found > 35


def test_values_of_one_bucket_are_the_same_value() -> None:
    """Equal percentiles of all repeats do not mean that the next bucket is a difference."""
    first, other = of_repeats([1.0, 1.0, 1.0], [1.0009], step=1 / 1024)
    low, high = first.bounds(student(first.freedom))
    assert low < 0.9991
    assert high > 1.0009
    assert other.bounds(1.0)[0] < 1.0001


def verdict_of(name: str, baseline: list[Result], candidate: Result) -> str:
    comparison = compare([baseline, [candidate]])
    return next(row for row in comparison.rows if row.name == name).changes[0].verdict


def test_the_next_bucket_is_no_difference_though_all_repeats_agree() -> None:
    usual, next_one, beyond = (
        made_up(lambda _, __, ns=ns: ns, seconds=2, per_second=200)  # type: ignore[misc]
        for ns in (1_000_000, 1_000_600, 1_003_000)
    )
    assert verdict_of("p50", [usual] * 3, next_one) == SAME
    assert verdict_of("p50", [usual] * 3, beyond) == HIGHER


def test_one_message_less_is_no_difference_though_all_repeats_agree() -> None:
    usual = made_up(seconds=2, per_second=200)
    fewer = [
        replace(usual, seconds=[replace(usual.seconds[0], messages=200 - less), usual.seconds[1]])
        for less in (1, 20)
    ]
    assert verdict_of("rate", [usual] * 3, fewer[0]) == SAME
    assert verdict_of("rate", [usual] * 3, fewer[1]) == LOWER


def failing(count: int) -> Result:
    return made_up(seconds=2, per_second=500, errors={"reset": count} if count else {})


def errors_of(baseline: list[int], candidate: list[int]) -> str:
    sides = [[failing(count) for count in side] for side in (baseline, candidate)]
    return next(row for row in compare(sides).rows if row.name == "errors").changes[0].verdict


@pytest.mark.parametrize(
    ("baseline", "candidate", "verdict"),
    [
        ([0] * 5, [0], SAME),
        ([0] * 5, [1], SAME),
        ([0] * 5, [30], HIGHER),
        ([0] * 5, [9] * 5, HIGHER),
        ([3] * 5, [4], SAME),
        ([0, 0, 90, 0, 0], [60], SAME),
    ],
)
def test_errors_of_repeats_vary_as_poisson_does_at_least(
    baseline: list[int], candidate: list[int], verdict: str
) -> None:
    assert errors_of(baseline, candidate) == verdict


def test_errors_that_come_in_some_repeats_only_vary_as_these_do() -> None:
    together, _ = of_repeated_faults([(0, 100), (0, 100), (90, 100)], [(30, 100)] * 3)
    evenly, _ = of_repeated_faults([(30, 100)] * 3, [(30, 100)] * 3)
    assert together.value == evenly.value
    assert together.variance > 20 * evenly.variance
    assert (together.freedom, evenly.freedom) == (2, math.inf)
