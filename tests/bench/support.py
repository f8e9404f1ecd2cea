"""Results of runs that never were, for what is made of results."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.bench.workload import Workload

Latency = Callable[[random.Random, int], float]
"""Draws a latency in ns, for a message due in the second of that number."""


def exponential(mean: float) -> Latency:
    """Latencies in ns as of a queue: exponential, with that mean."""
    return lambda chance, _: chance.expovariate(1 / mean)


_USUAL = exponential(200_000)


def made_up(
    latency: Latency = _USUAL,
    seconds: int = 5,
    per_second: int = 1000,
    seed: int = 1,
    errors: dict[str, int] | None = None,
    **load: Any,
) -> Result:
    """A run of so many seconds in which all messages but those of ``errors`` were answered."""
    chance = random.Random(seed)  # noqa: S311
    workload = Workload(address="127.0.0.1:8091", **{"duration": float(seconds)} | load)
    series = [_second(n, per_second, latency, workload, chance) for n in range(seconds)]
    connections = workload.connections
    return Result(
        workload=workload,
        started=1_700_000_000.0,
        elapsed=float(seconds),
        sent=seconds * per_second,
        bytes_sent=64 * seconds * per_second,
        bytes_received=64 * seconds * per_second,
        response=Histogram.sum(second.response for second in series),
        service=Histogram.sum(second.service for second in series),
        slip=Histogram.sum(second.slip for second in series),
        answered=[seconds * per_second // connections] * connections,
        connect=_drawn(chance, connections, 50_000),
        first_reply=_drawn(chance, connections, 150_000),
        seconds=series,
        errors=errors or {},
    )


def _second(
    number: int, count: int, latency: Latency, workload: Workload, chance: random.Random
) -> Second:
    response, service, slip = Histogram(), Histogram(), Histogram()
    for _ in range(count):
        took = round(latency(chance, number))
        late = round(chance.expovariate(1 / 5_000)) if workload.open_loop else 0
        response.record(took)
        service.record(max(0, took - late))
        if workload.open_loop:
            slip.record(late)
    target = workload.profile.rate_at(number + 0.5) if workload.open_loop else None
    return Second(float(number), 1.0, target, count, count, 0, 10, response, service, slip)


def _drawn(chance: random.Random, count: int, mean: float) -> Histogram:
    histogram = Histogram()
    for _ in range(count):
        histogram.record(round(chance.expovariate(1 / mean)))
    return histogram
