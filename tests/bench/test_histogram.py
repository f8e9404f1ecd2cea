"""The histogram: bucket for bucket that of the HdrHistogram library, recording the same."""

from __future__ import annotations

import math
import pickle
import statistics
from collections import deque
from typing import Any

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import PERCENTILES
from epollo.engine import available
from epollo.errors import UsageError

HIGHEST = 3600 * 10**9
# Of any order of magnitude, not only of the highest one, and often the same one again.
VALUES = st.lists(
    st.integers(0, HIGHEST)
    | st.integers(0, 42).flatmap(lambda bits: st.integers(0, min(HIGHEST, 1 << bits)))
    | st.integers(2040, 2060),
    max_size=200,
)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def hdr_of(values: list[int]) -> HdrHistogram:
    histogram = HdrHistogram(1, HIGHEST, 3)
    for value in values:
        histogram.record_value(value)
    return histogram


@settings(max_examples=50)
@given(VALUES.filter(len))
def test_the_buckets_are_those_of_hdrhistogram(values: list[int]) -> None:
    hdr = hdr_of(values)
    for low, high, count in of(values).buckets():
        assert hdr.get_lowest_equivalent_value(high) == low
        assert hdr.get_highest_equivalent_value(low) == high
        assert hdr.get_count_at_value(low) == count


@settings(max_examples=50)
@given(VALUES.filter(len))
def test_the_percentiles_are_those_of_hdrhistogram(values: list[int]) -> None:
    """At each rank: where a percentile falls between two of them, the library takes the nearer
    one, and we the higher one, as its Java original does."""
    percents = [100 * rank / len(values) for rank in range(1, len(values) + 1)]
    hdr = hdr_of(values).get_percentile_to_value_dict(percents)
    found = of(values).percentiles(percents)
    assert found == [min(hdr[percent], max(values)) for percent in percents]


def test_the_usual_percentiles_of_many_values_are_those_of_hdrhistogram() -> None:
    values = [round(1e5 * 1.0011**n) for n in range(10_000)]  # so each percentile is a rank
    hdr = hdr_of(values).get_percentile_to_value_dict(PERCENTILES)
    expected = [min(hdr[percent], max(values)) for percent in PERCENTILES]
    assert of(values).percentiles(PERCENTILES) == expected


@settings(max_examples=50)
@given(VALUES.filter(len), st.sampled_from(PERCENTILES))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(
    values: list[int], percent: float
) -> None:
    rank = math.ceil(round(percent * 100) * len(values) / 10_000)
    exact = sorted(values)[rank - 1]
    assert exact <= of(values).percentile(percent) <= exact * 1.001


DISTRIBUTIONS = {
    "exponential": stats.expon(scale=200_000),
    "lognormal": stats.lognorm(1.5, scale=50_000),
    "heavy tail": stats.pareto(1.2, scale=30_000),
    "narrow": stats.norm(10**9, 1000),
    "two points": stats.rv_discrete(values=([10**6, 10**8], [0.5, 0.5])),
    "small": stats.poisson(20),
}


@pytest.mark.parametrize("chance", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_the_figures_are_those_of_numpy(chance: Any) -> None:
    """Each percentile to a thousandth, of so many values that no rank is a whole number, which
    numpy may round up; and the distribution's own lies between the order statistics that the
    binomial distribution tells."""
    values = np.rint(chance.rvs(size=20_011, random_state=np.random.default_rng(9))).astype(
        np.int64
    )
    histogram = of(values.tolist())
    percents = [*PERCENTILES, 0.5, 1, 10, 25]
    exact = np.percentile(values, percents, method="inverted_cdf")
    assert histogram.percentiles(percents) == pytest.approx(exact, rel=0.001)
    assert all(np.array(histogram.percentiles(percents)) >= exact)
    assert histogram.mean == pytest.approx(values.mean())
    assert histogram.deviation == pytest.approx(values.std(), rel=1e-6)
    for percent in (10, 50, 90, 99):
        low, high = stats.binom.ppf([5e-7, 1 - 5e-7], len(values), percent / 100)
        least, most = (100 * rank / len(values) for rank in (low, high + 1))
        wanted = chance.ppf(percent / 100)
        assert 0.999 * histogram.percentile(least) - 1 <= wanted
        assert wanted <= 1.001 * histogram.percentile(most) + 1


def test_a_thousandth_of_a_thousand_values_is_one_of_them() -> None:
    assert of(list(range(1000))).percentile(99.9) == 998


@settings(max_examples=50)
@given(VALUES)
def test_counts_extremes_mean_and_deviation_are_exact(values: list[int]) -> None:
    histogram = of(values)
    assert histogram.total == len(values) == hdr_of(values).get_total_count()
    assert histogram.minimum == min(values, default=0)
    assert histogram.maximum == max(values, default=0)
    if values:
        assert histogram.mean == pytest.approx(statistics.fmean(values))
        assert histogram.deviation == pytest.approx(statistics.pstdev(values))
        hdr = hdr_of(values)
        assert hdr.get_lowest_equivalent_value(histogram.minimum) == hdr.get_min_value()
        assert hdr.get_highest_equivalent_value(histogram.maximum) == hdr.get_max_value()


def test_values_that_differ_little_keep_their_deviation() -> None:
    assert of([10**12, 10**12 + 2]).deviation == pytest.approx(1)


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=4))
def test_merging_equals_recording_together(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.add(of(part))
    together = of([value for part in parts for value in part])
    assert figures(merged) == figures(together)


def figures(histogram: Histogram) -> tuple[object, ...]:
    extremes = (histogram.minimum, histogram.maximum)
    moments = (histogram.total, histogram.mean, histogram.deviation)
    return *extremes, *moments, list(histogram.buckets()), histogram.percentiles(PERCENTILES)


@given(st.integers(0, 1 << 62))
def test_a_bucket_is_narrower_than_a_thousandth_of_its_value(value: int) -> None:
    ((low, high, _),) = of([value]).buckets()
    assert low <= value <= high
    assert low == high if value < 2048 else (high + 1 - low) / low < 0.001


def test_the_sum_of_small_values() -> None:
    times = Histogram()
    for value, count in ((10, 3), (500, 2), (2_000_000, 1)):
        times.record_many(value, count)
    assert [times.sum_up_to(value) for value in (9, 10, 499, 500, 1_999_000)] == [
        *(0, 30, 30, 1030, 1030)
    ]
    assert times.sum_up_to(2_000_000) == pytest.approx(2_001_030, rel=0.001)
    assert Histogram().sum_up_to(10) == 0


def test_an_empty_one_has_figures_of_0() -> None:
    empty = Histogram()
    assert empty.percentiles(PERCENTILES) == [0] * len(PERCENTILES)
    assert figures(empty)[:5] == (0, 0, 0, 0.0, 0.0)
    assert list(empty.buckets()) == []


@pytest.mark.skipif("native" not in available(), reason="the native engine was not built")
def test_what_the_native_backend_recorded_is_the_same_in_another_process() -> None:
    from epollo.bench.run.native.counters import MessageCounters

    counters = MessageCounters(None, None, lambda: None)
    counters.live = deque()
    counters.open_window(0, 10.0)
    values = [1, 5, 5, 70_000, 123_456_789]
    for value in values:
        counters.record(1, 1, 1 + value)
    counters.roll(10**9)
    recorded = counters.live[0].response
    recorded.record(3_000_000)  # late, and in a bucket that had nothing
    expected = Histogram()
    for value in [*values, 3_000_000]:
        expected.record(value)
    for histogram in (recorded, pickle.loads(pickle.dumps(recorded))):  # noqa: S301 (our own)
        assert list(histogram.buckets()) == list(expected.buckets())
        assert histogram.percentiles([50, 100]) == expected.percentiles([50, 100])
        assert (histogram.mean, histogram.deviation) == (expected.mean, expected.deviation)


@pytest.mark.parametrize("percent", [101, 100.000_1, -1, math.inf, math.nan, "99", None])
@pytest.mark.parametrize("values", [[], [5]], ids=["empty", "one"])
def test_an_impossible_percentile_is_refused_in_one_line(values: list[int], percent: Any) -> None:
    with pytest.raises(UsageError, match=r"\Apercent.*\Z"):
        of(values).percentile(percent)


@pytest.mark.parametrize("value", [-1, 1 << 63, 1.5, math.nan, "5", None])
def test_an_impossible_value_is_refused_in_one_line(value: Any) -> None:
    histogram = of([7])
    for record in (histogram.record, lambda wrong: histogram.record_many(wrong, 2)):
        with pytest.raises(UsageError, match=r"\Avalue: .* is not an integer from 0 to .*\Z"):
            record(value)
    assert figures(histogram) == figures(of([7]))


@pytest.mark.parametrize("count", [-1, 0.5, None])
def test_an_impossible_count_is_refused_in_one_line(count: Any) -> None:
    histogram = of([7])
    with pytest.raises(UsageError, match=r"\Acount: .* is not a whole number of 0 or more\Z"):
        histogram.record_many(5, count)
    histogram.record_many(5, 0)
    assert figures(histogram) == figures(of([7]))
