"""How far off a figure may be: known cases, and the bounds of what cannot be known."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from scipy import stats

from epollo.bench.compare.estimates import (
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


def percentile_of(seconds: Sequence[Histogram], percent: float) -> Estimate | None:
    return of_percentile(Histogram.sum(seconds), seconds, percent)


def relative_error(estimate: Estimate | None) -> float:
    assert estimate is not None
    return math.sqrt(estimate.variance)


def test_students_t_is_that_of_scipy() -> None:
    """To the three digits of the table; between them never narrower, and above 2 degrees of
    freedom at most 3 % wider."""
    table = list(range(1, 31))
    assert [student(freedom) for freedom in table] == [
        pytest.approx(float(exact), abs=0.00051) for exact in stats.t.ppf(0.975, table)
    ]
    between = [tenths / 10 for tenths in range(10, 20_000)]
    for freedom, exact in zip(between, stats.t.ppf(0.975, between), strict=True):
        assert exact - 0.001 <= student(freedom) <= exact * (1.03 if freedom >= 2 else 1.19)
    assert student(0.5) == student(1)
    assert student(math.inf) == round(float(stats.norm.ppf(0.975)), 3)


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
    errors = [relative_error(percentile_of(seconds_of(chance), 50.0)) for _ in range(30)]
    expected = math.sqrt(0.25 / (SECONDS * 200)) / 0.5 / math.log(2)
    assert statistics.fmean(errors) == pytest.approx(expected, rel=0.2)


def test_a_percentile_that_rests_on_one_second_has_no_upper_bound() -> None:
    """A stall in one of sixty seconds: what p99.5 would be in another run, nobody knows."""
    seconds = seconds_of(random.Random(4))  # noqa: S311
    for _ in range(100):
        seconds[30].record(500_000_000)
    estimate = percentile_of(seconds, 99.5)
    assert estimate is not None
    low, high = estimate.bounds(student(estimate.freedom))
    assert low < 10_000_000
    assert high >= 500_000_000


def test_a_percentile_with_too_few_values_above_is_none_at_all() -> None:
    seconds = seconds_of(random.Random(5), count=10, messages=100)  # noqa: S311
    assert percentile_of(seconds, 100 - 100 * BEYOND / 1000) is not None
    assert percentile_of(seconds, 100 - 99 * BEYOND / 1000) is None


def test_a_value_that_never_varies_is_known_to_a_bucket() -> None:
    second = Histogram()
    second.record_many(1_000_000, 1000)
    estimate = percentile_of([second] * 10, 99.0)
    assert estimate is not None
    low, high = estimate.bounds(5.0)
    assert 0.998 < low / 1_000_000 < 1 < high / 1_000_000 < 1.002


def test_nothing_has_no_rate_and_no_percentile() -> None:
    assert of_ratio([0, 0], [1, 1]) is None
    assert of_ratio([], []) is None
    assert percentile_of([Histogram()], 50.0) is None


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
