"""When each message of an open loop is due: a plan that waits for nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

from epollo.bench.rates import Profile


def arrivals(profile: Profile, arrival: str, seed: int) -> Iterator[float]:
    """The times in seconds, in order, at which messages are due under ``profile``; an endless
    iterator where that has no end.

    Constant ones are due when the profile's integral reaches the next whole number; Poisson ones
    after steps of it that are exponential with a mean of 1: an inhomogeneous Poisson process by
    time change (Cinlar, Introduction to Stochastic Processes, 4.7).
    """
    counts = _poisson(seed) if arrival == "poisson" else _constant()
    before = start = 0.0
    count = next(counts)
    for step in profile.steps:
        while count < before + step.messages:
            yield start + step.time_of(count - before)
            count = next(counts)
        before += step.messages
        start += step.seconds


def _constant() -> Iterator[float]:
    count = 0
    while True:
        yield float(count)
        count += 1


def _poisson(seed: int) -> Iterator[float]:
    gap = random.Random(seed).expovariate  # noqa: S311 (a load is no secret)
    count = gap(1.0)
    while True:
        yield count
        count += gap(1.0)
