"""When messages are due, by scipy's tests of distributions. Schedules are drawn by a seed, so the
tests find the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
from scipy import stats

from epollo.bench.load.arrivals import arrivals
from epollo.bench.load.rates import parse_rate
from epollo.bench.load.shards import Shard

SELDOM = 1e-6
CONNECTIONS = 7

PROFILES: dict[str, Callable[[float], float]] = {
    "1000/20s": lambda t: 1000 * t,
    "200..1800/20s": lambda t: 200 * t + 40 * t**2,
    "500/10s,1500/10s": lambda t: 500 * t if t < 10 else 5000 + 1500 * (t - 10),
}
"""Rates, and how many messages are due by a time."""


def due(rate: str, seed: int, of: int = 1, arrival: str = "poisson") -> np.ndarray:
    """The times of all shards together, in order."""
    profile = parse_rate(rate)
    each = [arrivals(profile, arrival, seed, Shard(n, of), CONNECTIONS) for n in range(of)]
    return np.array(sorted(chain.from_iterable(each)))


@pytest.mark.parametrize("of", [1, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("rate", "integral"), PROFILES.items(), ids=PROFILES)
def test_poisson_gaps_are_exponential(
    rate: str, integral: Callable[[float], float], seed: int, of: int
) -> None:
    """In the time in which one message is due in each unit, whatever the rate is (Cinlar,
    Introduction to Stochastic Processes, 4.7); and a gap knows nothing of the one before."""
    gaps = np.diff([0.0, *map(integral, due(rate, seed, of))])
    assert stats.kstest(gaps, stats.expon.cdf).pvalue > SELDOM
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > SELDOM
    assert SELDOM < stats.poisson(integral(20)).cdf(len(gaps)) < 1 - SELDOM


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_number_in_a_second_is_poissons(seed: int) -> None:
    """Its variance is its mean: the dispersion test."""
    numbers, _ = np.histogram(due("1000/200s", seed), bins=200, range=(0, 200))
    dispersion = np.sum((numbers - numbers.mean()) ** 2) / numbers.mean()
    assert SELDOM < stats.chi2(199).cdf(dispersion) < 1 - SELDOM


@pytest.mark.parametrize("of", [1, 3])
def test_constant_ones_are_no_poisson_process(of: int) -> None:
    """Else the tests above would prove nothing."""
    gaps = np.diff(due("1000/20s", 1, of, "constant"))
    assert gaps == pytest.approx(0.001, abs=1e-9)
    assert stats.kstest(gaps * 1000, stats.expon.cdf).pvalue < SELDOM


def test_another_rate_is_told_from_it() -> None:
    gaps = np.diff(due("1000/20s", 1)) * 1050
    assert stats.kstest(gaps, stats.expon.cdf).pvalue < SELDOM
