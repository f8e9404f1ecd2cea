"""Runs that never were, second by second, whose figures are known from theory."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import signal, stats

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.packed_counts import PackedCounts
from epollo.bench.results.second import Second

_SPREAD = 0.5  # of the logarithm of a latency
_NORMAL = stats.norm


@dataclass(frozen=True)
class Independent:
    """Poisson arrivals; lognormal latencies with a median of 1 ms."""

    rate: float

    def draw(self, chance: np.random.Generator, seconds: int) -> tuple[Any, Any]:
        """When messages are due, in s, and how long each takes, in ns."""
        due = _arrivals(chance, self.rate, seconds)
        return due, 1e6 * chance.lognormal(0, _SPREAD, len(due))

    def mean(self) -> float:
        """The true one, in seconds."""
        return 1e-3 * math.exp(_SPREAD**2 / 2)

    def percentile(self, part: float) -> float:
        """The true one, in seconds."""
        return 1e-3 * math.exp(_SPREAD * float(_NORMAL.ppf(part)))


@dataclass(frozen=True)
class Queue:
    """M/M/1: Poisson arrivals at one server with exponential service; each message waits for those
    before it. The response times are exponential too, and correlated."""

    rate: float
    service: float  # of messages a second

    def draw(self, chance: np.random.Generator, seconds: int) -> tuple[Any, Any]:
        """By Lindley's recursion, from a queue of the length that it has in the long run."""
        due = _arrivals(chance, self.rate, seconds)
        services = chance.exponential(1 / self.service, len(due))
        waiting = chance.random() < self.rate / self.service
        first = chance.exponential(1 / (self.service - self.rate)) if waiting else 0.0
        steps = np.concatenate([[first], services[:-1]]) - np.diff(due, prepend=0)
        walk = np.cumsum(steps)
        waits = walk - np.minimum(0, np.minimum.accumulate(walk))
        return due, 1e9 * (waits + services)

    def mean(self) -> float:
        return 1 / (self.service - self.rate)

    def percentile(self, part: float) -> float:
        return -math.log(1 - part) * self.mean()


@dataclass(frozen=True)
class Drifting:
    """As `Independent`, but slow and fast phases: a factor that is autoregressive from second to
    second."""

    rate: float
    memory: float  # the correlation of a second with the one before
    spread: float  # of the logarithm of the factor

    def draw(self, chance: np.random.Generator, seconds: int) -> tuple[Any, Any]:
        due = _arrivals(chance, self.rate, seconds)
        news = chance.normal(0, self.spread * math.sqrt(1 - self.memory**2), seconds)
        news[0] = chance.normal(0, self.spread)
        phase = signal.lfilter([1], [1, -self.memory], news)
        return due, 1e6 * np.exp(phase[due.astype(int)] + chance.normal(0, _SPREAD, len(due)))

    def mean(self) -> float:
        return 1e-3 * math.exp((_SPREAD**2 + self.spread**2) / 2)

    def percentile(self, part: float) -> float:
        return 1e-3 * math.exp(math.hypot(_SPREAD, self.spread) * float(_NORMAL.ppf(part)))


Model = Independent | Queue | Drifting


def seconds_of(model: Model, chance: np.random.Generator, count: int) -> Iterator[Second]:
    """A run of so many seconds."""
    due, latencies = model.draw(chance, count)
    edges = np.searchsorted(due, np.arange(count + 1))
    for number in range(count):
        times = _histogram(latencies[edges[number] : edges[number + 1]].astype(np.int64))
        answered = times.total
        nothing = Histogram()
        yield Second(float(number), 1.0, None, answered, answered, 0, 0, times, times, nothing)


def _arrivals(chance: np.random.Generator, rate: float, seconds: int) -> Any:
    return np.sort(chance.random(chance.poisson(rate * seconds)) * seconds)


def _histogram(values: Any) -> Histogram:
    """A histogram of these values, much faster than to record each."""
    if not len(values):
        return Histogram()
    shifts = np.maximum(0, np.frexp(values.astype(float))[1] - 11)
    indexes, counts = np.unique(shifts * 1024 + (values >> shifts), return_counts=True)
    packed = PackedCounts(
        array("I", indexes.astype("u4").tobytes()), array("Q", counts.astype("u8").tobytes())
    )
    least, most = int(values.min()), int(values.max())
    return Histogram.of_buckets(packed, len(values), int(values.sum()), 0, least, most)
