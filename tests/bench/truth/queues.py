"""Queues whose waiting times are known: Poisson arrivals at one server, first come, first served.

Times are in seconds. The oracles are scipy's distributions and the formulas of queueing theory:
none of them has seen the tester.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tests.bench.truth.behaviour import Behaviour

SELDOM = 1e-6
"""How often a test of chance may fail, though all is right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """M/M/1 if the service is ``exponential``, else M/D/1.

    Attributes:
        rate: of the arrivals, a second.
        service: mean time that the server works on a message.
        exponential: are service times drawn by chance? Otherwise all are equal.
    """

    rate: float
    service: float
    exponential: bool = False

    @property
    def name(self) -> str:
        """In Kendall's notation."""
        return "M/M/1" if self.exponential else "M/D/1"

    @property
    def utilisation(self) -> float:
        """The part of its time that the server works."""
        return self.rate * self.service

    @property
    def waiting_mean(self) -> float:
        """Pollaczek and Khinchine: lambda E[S^2] / (2 (1 - rho))."""
        square = self.service**2 * (2 if self.exponential else 1)
        return self.rate * square / (2 * (1 - self.utilisation))

    @property
    def response_mean(self) -> float:
        """Waiting and service."""
        return self.waiting_mean + self.service

    def behaviour(self, seed: int = 1, virtual: bool = False) -> Behaviour:
        """The server."""
        return Behaviour(
            service=self.service,
            exponential=self.exponential,
            queue=True,
            seed=seed,
            virtual=virtual,
            exact=not virtual,
        )

    def waiting(self, time: float) -> float:
        """The part of the messages that wait for no longer than that.

        M/M/1: 1 - rho exp(-(mu - lambda) t) (Kleinrock, Queueing Systems I, 5.123). M/D/1: Erlang's
        sum (Gross and Harris, Fundamentals of Queueing Theory, 5.1.5), which is exact while few
        services fit into the time: its terms have alternating signs.
        """
        if time < 0:
            return 0.0
        if self.exponential:
            return float(1 - self.utilisation * stats.expon.sf(time, scale=self._scale))
        terms = []
        for number in range(math.floor(time / self.service) + 1):
            ahead = self.rate * (number * self.service - time)
            terms.append(ahead**number / math.factorial(number) * math.exp(-ahead))
        return (1 - self.utilisation) * math.fsum(terms)

    def response(self, time: float) -> float:
        """The part of the messages that are answered within that time."""
        if self.exponential:
            return float(stats.expon.cdf(time, scale=self._scale))
        return self.waiting(time - self.service)

    def response_percentile(self, part: float) -> float:
        """The time within which a part of the messages is answered."""
        if self.exponential:
            return float(stats.expon.ppf(part, scale=self._scale))
        if part <= 1 - self.utilisation:  # these find the server idle
            return self.service
        bound = 2 * self.service
        while self.response(bound) < part:
            bound += self.service
        return float(optimize.brentq(lambda time: self.response(time) - part, self.service, bound))

    @property
    def independent(self) -> int:
        """So many messages apart, two times in the queue know nothing of each other: ten relaxation
        times of M/M/1, which are the longer ones (Cohen, The Single Server Queue, II.2.1)."""
        relaxation = 1 / ((1 / self.service) * (1 - math.sqrt(self.utilisation)) ** 2)
        return math.ceil(10 * relaxation * self.rate)

    @property
    def _scale(self) -> float:
        return 1 / (1 / self.service - self.rate)


def follows(values: Sequence[float], queue: Queue) -> float:
    """How often times in that queue are distributed so differently. ``values`` are the response
    times of consecutive messages; those that are taken are independent.

    By Kolmogorov-Smirnov. In M/D/1 the messages that find the server idle all take the same time:
    their number is binomial, and the test is of the others.
    """
    taken = values[:: queue.independent]
    if queue.exponential:
        return float(stats.kstest(taken, np.vectorize(queue.response)).pvalue)
    idle = 1 - queue.utilisation
    waited = [value for value in taken if value > queue.service + 1e-9]
    given = np.vectorize(lambda time: (queue.response(time) - idle) / (1 - idle))
    number = stats.binomtest(len(waited), len(taken), 1 - idle).pvalue
    return min(float(number), float(stats.kstest(waited, given).pvalue))


def ranks(part: float, count: int, error: float = SELDOM) -> tuple[int, int]:
    """The order statistics, counted from 1, between which a percentile of a distribution lies with
    a probability of 1 - ``error``, if ``count`` independent values are from it: the number of
    values below it is binomial (David and Nagaraja, Order Statistics, 7.1). 0 and count + 1 are
    minus and plus infinity."""
    low, high = stats.binom.ppf([error / 2, 1 - error / 2], count, part)
    return int(low), int(high) + 1
