"""When each message of an open loop is due: a schedule that waits for no reply."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, count

from epollo.bench.load.rates import Profile
from epollo.bench.load.shards import WHOLE, Shard


def arrivals(
    profile: Profile, arrival: str, seed: int, shard: Shard = WHOLE, connections: int = 1
) -> Iterator[float]:
    """The times in seconds, in order, at which messages are due under ``profile``; an endless
    iterator if the profile has no end.

    Constant arrivals are due when the profile's integral reaches the next whole number. Poisson
    arrivals are due after steps of the integral that are exponential with a mean of 1: an
    inhomogeneous Poisson process by time change (Cinlar, Introduction to Stochastic Processes,
    4.7).

    With a ``shard`` of the ``connections``, only the messages of that shard. Constant arrivals are
    dealt to the connections in turn, and each is due when it would be without shards. Poisson
    arrivals are drawn for each shard: the sum of independent Poisson processes is one (Cinlar,
    4.4).
    """
    counts: Iterator[float] = _round_robin(shard, connections)
    if arrival == "poisson":
        profile = profile.scaled(shard.part(connections))
        counts = _poisson(shard.number(seed))
    before = start = 0.0
    number = next(counts)
    for step in profile.steps:
        while number < before + step.messages:
            yield start + step.time_of(number - before)
            number = next(counts)
        before += step.messages
        start += step.seconds


def _round_robin(shard: Shard, connections: int) -> Iterator[int]:
    """The numbers of the shard's messages, when all messages are dealt to connections in turn."""
    rounds = count(0, connections)
    return chain.from_iterable(
        range(first + shard.index, first + connections, shard.of) for first in rounds
    )


def _poisson(seed: int) -> Iterator[float]:
    gap = random.Random(seed).expovariate  # noqa: S311 (not for security)
    count = gap(1.0)
    while True:
        yield count
        count += gap(1.0)
