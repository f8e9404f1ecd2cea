"""How far off a figure may be: known cases, and the bounds of what cannot be known."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from scipy import stats

from epollo.bench.results.estimates import (
    BEYOND,
    Estimate,
    of_faults,
    of_percentile,
    of_ratio,
    of_repeats,
    student,
)
from epollo.bench.results.histogram import Histogram

SECONDS = 60


def seconds_of(chance: random.Random, count: int = SECONDS, messages: int = 200) -> list[Histogram]:
    """Exponential latencies of 1 ms."""
    every = []
    for _ in range(count):
        second = Histogram()
        for _ in range(messages):
            second.record(round(chance.expovariate(1e-6)))
        every.append(second)
    return every


def relative_error(estimate: Estimate | None) -> float:
    assert estimate is not None
    return math.sqrt(estimate.variance)


def test_students_t_is_that_of_scipy() -> None:
    """To the three digits of the table; beyond its end, an interval is wider than needed,
    or narrower in the third digit."""
    table = list(range(1, 31))
    assert [student(freedom) for freedom in table] == [
        round(float(exact), 3) for exact in stats.t.ppf(0.975, table)
    ]
    beyond = [tenths / 10 for tenths in range(10, 20_000)]
    for freedom, exact in zip(beyond, stats.t.ppf(0.975, beyond), strict=True):
        assert student(freedom) >= exact - 0.003
    assert student(math.inf) == round(float(stats.norm.ppf(0.975)), 3)


def test_between_two_degrees_of_freedom_the_wider_one_is_taken() -> None:
    assert student(6.9) == student(6)
    assert student(0.5) == student(1)
    assert student(math.inf) == pytest.approx(1.96)


def test_the_error_of_a_mean_is_the_usual_one_where_seconds_are_independent() -> None:
    """On average over many: a single one has few degrees of freedom."""
    chance = random.Random(1)  # noqa: S311
    squares = []
    for _ in range(400):
        amounts = [chance.gauss(100, 10) for _ in range(SECONDS)]
        squares.append(relative_error(of_ratio(amounts, [1] * SECONDS)) ** 2)
    assert math.sqrt(statistics.fmean(squares)) == pytest.approx(0.1 / math.sqrt(SECONDS), rel=0.1)


def test_seconds_that_linger_make_a_mean_less_certain() -> None:
    """Each level held for ten seconds is a tenth as much to know."""
    chance = random.Random(2)  # noqa: S311
    independent, lingering = 0.0, 0.0
    for _ in range(200):
        levels = [chance.gauss(100, 10) for _ in range(SECONDS)]
        held = [levels[n // 10] for n in range(SECONDS)]
        independent += relative_error(of_ratio(levels, [1] * SECONDS)) ** 2
        lingering += relative_error(of_ratio(held, [1] * SECONDS)) ** 2
    assert lingering / independent == pytest.approx(10, rel=0.35)


def test_a_rate_weighs_a_rest_by_its_length() -> None:
    estimate = of_ratio([*[100] * 10, 10], [*[1.0] * 10, 0.1])
    assert estimate is not None
    assert estimate.value == pytest.approx(100)
    assert relative_error(estimate) == pytest.approx(0, abs=1e-9)


def test_the_error_of_a_median_is_that_of_theory() -> None:
    """sqrt(p (1 - p) / n) over the density, which is 1/2 at an exponential's median of ln 2."""
    chance = random.Random(3)  # noqa: S311
    errors = [relative_error(of_percentile(seconds_of(chance), 50.0)) for _ in range(30)]
    expected = math.sqrt(0.25 / (SECONDS * 200)) / 0.5 / math.log(2)
    assert statistics.fmean(errors) == pytest.approx(expected, rel=0.2)


def test_a_percentile_that_rests_on_one_second_has_no_upper_bound() -> None:
    """A stall in one of sixty seconds: what p99.5 would be in another run, nobody knows."""
    seconds = seconds_of(random.Random(4))  # noqa: S311
    for _ in range(100):
        seconds[30].record(500_000_000)
    estimate = of_percentile(seconds, 99.5)
    assert estimate is not None
    low, high = estimate.bounds(student(estimate.freedom))
    assert low < 10_000_000
    assert high >= 500_000_000


def test_a_percentile_with_too_few_values_above_is_none_at_all() -> None:
    seconds = seconds_of(random.Random(5), count=10, messages=100)  # noqa: S311
    assert of_percentile(seconds, 100 - 100 * BEYOND / 1000) is not None
    assert of_percentile(seconds, 100 - 99 * BEYOND / 1000) is None


def test_a_value_that_never_varies_is_known_to_a_bucket() -> None:
    second = Histogram()
    second.record_many(1_000_000, 1000)
    estimate = of_percentile([second] * 10, 99.0)
    assert estimate is not None
    low, high = estimate.bounds(5.0)
    assert 0.998 < low / 1_000_000 < 1 < high / 1_000_000 < 1.002


def test_nothing_has_no_rate_and_no_percentile() -> None:
    assert of_ratio([0, 0], [1, 1]) is None
    assert of_ratio([], []) is None
    assert of_percentile([Histogram()], 50.0) is None


@pytest.mark.parametrize("faults", [[0] * 10, [1, *[0] * 9], [3] * 10])
def test_few_faults_vary_as_poisson_does_at_least(faults: Sequence[int]) -> None:
    estimate = of_faults(faults, 1000)
    count = sum(faults) + 0.5
    assert estimate.value == count / 1000
    assert relative_error(estimate) >= 0.999 / math.sqrt(count)


def test_faults_that_come_together_are_less_certain_than_poisson() -> None:
    together = relative_error(of_faults([100, *[0] * 9], 10_000))
    assert together > 5 * relative_error(of_faults([10] * 10, 10_000))


def test_repeats_are_known_by_how_they_vary() -> None:
    first, other = of_repeats([100.0, 110.0, 121.0], [200.0, 200.0, 200.0])
    assert first.value == pytest.approx(110)
    assert (first.freedom, other.freedom) == (2, 2)
    assert relative_error(first) == pytest.approx(math.log(1.1) / math.sqrt(3))
    assert relative_error(other) == 0


def test_a_single_run_varies_as_the_repeats_beside_it() -> None:
    first, other = of_repeats([100.0], [100.0, 110.0, 121.0])
    assert relative_error(first) == 0
    assert relative_error(other) == pytest.approx(math.log(1.1) * math.sqrt(1 + 1 / 3))
    assert other.freedom == 2
