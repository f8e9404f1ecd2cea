"""When each message of an open loop is due: a plan that waits for nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, count

from epollo.bench.rates import Profile
from epollo.bench.shares import WHOLE, Share


def arrivals(
    profile: Profile, arrival: str, seed: int, share: Share = WHOLE, connections: int = 1
) -> Iterator[float]:
    """The times in seconds, in order, at which messages are due under ``profile``; an endless
    iterator where that has no end.

    Constant ones are due when the profile's integral reaches the next whole number; Poisson ones
    after steps of it that are exponential with a mean of 1: an inhomogeneous Poisson process by
    time change (Cinlar, Introduction to Stochastic Processes, 4.7).

    With a ``share`` of the ``connections``, those of its messages. Constant ones take turns on the
    connections, and each is due when it would be without shares. Poisson ones are drawn for each
    share: processes that are independent add up to one (Cinlar, 4.4).
    """
    counts: Iterator[float] = _turns(share, connections)
    if arrival == "poisson":
        profile = profile.share(share.count(connections) / connections)
        counts = _poisson(share.number(seed))
    before = start = 0.0
    number = next(counts)
    for step in profile.steps:
        while number < before + step.messages:
            yield start + step.time_of(number - before)
            number = next(counts)
        before += step.messages
        start += step.seconds


def _turns(share: Share, connections: int) -> Iterator[int]:
    """The messages of its connections, where all connections take turns."""
    rounds = count(0, connections)
    return chain.from_iterable(
        range(first + share.index, first + connections, share.of) for first in rounds
    )


def _poisson(seed: int) -> Iterator[float]:
    gap = random.Random(seed).expovariate  # noqa: S311 (a load is no secret)
    count = gap(1.0)
    while True:
        yield count
        count += gap(1.0)
