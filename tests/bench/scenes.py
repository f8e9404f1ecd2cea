"""Runs that never were, as people meet them: what is drawn of results is looked at with these.

Each is made once: leave it as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from tests.bench.support import made_up

STALL = 12  # the second in which `stalled` hangs


@cache
def closed() -> Result:
    """A closed loop with a few slow messages."""
    return made_up(_mixed(60_000, 0.002, 2_000_000), seconds=10, per_second=2000)


@cache
def stalled() -> Result:
    """An open loop against a server that hangs for almost a second, once."""

    def latency(chance: random.Random, second: int) -> float:
        if second == STALL:
            return max(200_000.0, 9e8 * chance.random())
        return 60_000 + chance.expovariate(1 / 180_000)

    def change(second: Second, number: int, chance: random.Random) -> Second:
        answered = {STALL: 1100, STALL + 1: 2900}.get(number, 2000 + chance.randint(-8, 8))
        return replace(second, messages=answered, outstanding=900 if number == STALL else 2)

    return _changed(made_up(latency, seconds=30, per_second=2000, rate="2k"), change)


@cache
def ramp() -> Result:
    """A rate that rises until the server cannot follow."""
    most = 34_000

    def latency(chance: random.Random, second: int) -> float:
        return 50_000 + chance.expovariate((1 - min(0.985, second / 40)) / 100_000)

    def change(second: Second, number: int, chance: random.Random) -> Second:
        answered = round(min(second.target or 0.0, most + chance.randint(-300, 300)))
        behind = max(2, round(3 * ((second.target or 0.0) - most)))
        return replace(second, messages=answered, sent=answered, outstanding=behind)

    return _changed(made_up(latency, seconds=40, per_second=500, rate="1k..40k/40s"), change)


@cache
def overloaded() -> Result:
    """An open loop far beyond what the server can do, with errors of three kinds."""

    def latency(chance: random.Random, second: int) -> float:
        return min(5e9, (second + 1) * 3.2e8 * (0.9 + 0.2 * chance.random()))

    def change(second: Second, number: int, chance: random.Random) -> Second:
        answered = 52_000 + chance.randint(-2000, 2000)
        errors = 0 if number < 5 else chance.randint(2000, 5000)
        return replace(
            second, sent=80_000, messages=answered, errors=errors, outstanding=28_000 * (number + 1)
        )

    errors = {"unanswered": 41_236, "reset": 12, "wrong_bytes": 3}
    load: dict[str, Any] = {"rate": "80k", "connections": 500, "size": "64..1KiB"}
    return _changed(made_up(latency, seconds=15, per_second=1000, errors=errors, **load), change)


@cache
def pair() -> list[Result]:
    """Two runs of the same load, of which the second is faster."""

    def change(second: Second, number: int, chance: random.Random) -> Second:
        return replace(second, messages=2500 + chance.randint(-20, 20))

    load: dict[str, Any] = {"seconds": 20, "per_second": 1000, "rate": "2500"}
    slower = made_up(_mixed(90_000, 0.004, 3_000_000), seed=1, **load)
    faster = made_up(_mixed(60_000, 0.002, 2_000_000), seed=2, **load)
    return [_changed(slower, change), _changed(faster, change)]


@cache
def long() -> Result:
    """So many messages that their percentiles go to 99.99999."""
    result = stalled()
    return replace(
        result,
        response=_repeated(result.response, 1000),
        service=_repeated(result.service, 1000),
        slip=_repeated(result.slip, 1000),
    )


def _repeated(histogram: Histogram, times: int) -> Histogram:
    many = Histogram()
    for low, _, count in histogram.buckets():
        many.record_many(low, count * times)
    return many


SCENES: dict[str, Callable[[], Sequence[Result]]] = {
    "closed": lambda: [closed()],
    "stalled": lambda: [stalled()],
    "ramp": lambda: [ramp()],
    "long": lambda: [long()],
    "overloaded": lambda: [overloaded()],
    "pair": pair,
}


def _mixed(mean: float, part: float, slow: float) -> Callable[[random.Random, int], float]:
    """Exponential latencies in ns; ``part`` of them are slower, by ``slow``."""

    def latency(chance: random.Random, second: int) -> float:
        extra = slow if chance.random() < part else 0.0
        return 40_000 + chance.expovariate(1 / mean) + extra

    return latency


def _changed(result: Result, change: Callable[[Second, int, random.Random], Second]) -> Result:
    """The run with its seconds changed, and what they add up to."""
    chance = random.Random(1)  # noqa: S311
    seconds = [change(second, n, chance) for n, second in enumerate(result.seconds)]
    connections = len(result.answered)
    each, remainder = divmod(sum(second.messages for second in seconds), connections)
    sent = max(sum(second.sent for second in seconds), sum(second.messages for second in seconds))
    return replace(
        result,
        seconds=seconds,
        sent=sent,
        bytes_sent=64 * sent,
        bytes_received=64 * (each * connections + remainder),
        answered=[each + (n < remainder) for n in range(connections)],
    )
