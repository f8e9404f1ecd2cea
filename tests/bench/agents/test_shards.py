"""The shards of a workload together are the whole, and have nothing twice."""

from __future__ import annotations

from itertools import islice

import pytest

from epollo.bench.load.arrivals import arrivals
from epollo.bench.load.rates import parse_rate
from epollo.bench.load.shards import Shard


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_what_is_counted_is_divided_without_a_remainder(of: int) -> None:
    shards = [Shard(index, of) for index in range(of)]
    counts = [shard.count(100) for shard in shards]
    assert sum(counts) == 100
    assert max(counts) - min(counts) <= 1
    numbers = [shard.number(own) for shard in shards for own in range(shard.count(100))]
    assert sorted(numbers) == list(range(100))


@pytest.mark.parametrize("rate", ["50", "10..100/3s", "20/1s,50/2s"])
@pytest.mark.parametrize(("of", "connections"), [(1, 1), (2, 10), (3, 10), (3, 3)])
def test_constant_arrivals_of_all_are_those_of_one(rate: str, of: int, connections: int) -> None:
    profile = parse_rate(rate)
    whole = list(islice(arrivals(profile, "constant", 1), 120))
    parts = [
        time
        for index in range(of)
        for time in islice(arrivals(profile, "constant", 1, Shard(index, of), connections), 120)
        if time <= whole[-1]
    ]
    assert sorted(parts) == whole


def test_poisson_arrivals_of_each_are_its_own_and_the_rates_add_up() -> None:
    profile = parse_rate("10k/1s")
    parts = [list(arrivals(profile, "poisson", 5, Shard(index, 3), 5)) for index in range(3)]
    assert len({time for part in parts for time in part}) == sum(map(len, parts))
    # Connections are 2, 2 and 1 of 5; five deviations of a Poisson count are never reached.
    for part, mean in zip(parts, (4000, 4000, 2000), strict=True):
        assert abs(len(part) - mean) < 5 * mean**0.5
    assert parts[0] == list(arrivals(profile, "poisson", 5, Shard(0, 3), 5))
