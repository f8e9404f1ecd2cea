"""What the figures have to be: the formulas of the truth tests, each with what it is true of.

Times are in seconds, ``part`` is a percentile as a part of 1.

**A stall.** Messages come at a constant rate during a window T. The server works c on each, so that
its utilisation is r = rate * c, and where nobody waits the reply takes s in all. Once, for S, it
does nothing. A message that comes u after the beginning of the stall finds rate * u others before
it, which are r * u of work: it is answered s + S - u + r * u after it came. That is the usual s
again for u = S / (1 - r): then the backlog is gone. So the excess over s is spread evenly from S
to 0 over the messages of that time, and a part (S - x) / ((1 - r) T) of all messages has an excess
over x. Turned around, and integrated:

    x_p = s + S - (1 - r)(1 - p) T, while that is above s;   mean = s + S^2 / (2 T (1 - r))

r is not the number of messages under way (that is rate * s, and may be any number), but the part
of its time that the server *works*. One that merely lets time pass, as a pure delay does, has
r = 0: its whole backlog is answered at the end of the stall. With r = 0 the formulas give the table
of the documentation: T = 30, S = 1, s = 0.001: mean 17.7 ms, p99 701 ms, p99.9 971 ms.

They hold to one gap between messages and one service time, and where backlog and stall lie within
the window; `test_models.py` holds them against simulations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import accumulate, pairwise

from tests.bench.truth.behaviour import SECOND, Behaviour, Timing
from tests.bench.truth.queues import Queue


def stall_percentile(
    part: float, *, service: float, stall: float, window: float, utilisation: float = 0.0
) -> float:
    """The response at a percentile of a run in which the server stalls once."""
    excess = stall - (1 - utilisation) * (1 - part) * window
    return service + max(0.0, excess)


def stall_mean(*, service: float, stall: float, window: float, utilisation: float = 0.0) -> float:
    """The mean response of a run in which the server stalls once."""
    return service + stall**2 / (2 * window * (1 - utilisation))


def waiting_mean(*, service: float, stall: float, messages: int, connections: int) -> float:
    """The mean time from send to reply of a generator that waits for its replies: whatever the
    length of the stall, one message of each connection sees it."""
    return service + connections * stall / messages


def queue_spread(part: float, queue: Queue, *, messages: int, runs: int) -> tuple[float, float]:
    """Mean and standard deviation, over runs of so many messages, of a percentile of a queue. They
    are simulated, since times in a queue depend on each other: a run knows less about its
    percentiles than as many independent times would."""
    found = []
    for seed in range(runs):
        arrivals = poisson(queue.rate, messages, seed)
        behaviour = queue.behaviour(seed=runs + seed)
        found.append(percentile(responses(behaviour, arrivals), part) / SECOND)
    mean = sum(found) / runs
    return mean, math.sqrt(sum((x - mean) ** 2 for x in found) / (runs - 1))


def responses(behaviour: Behaviour, arrivals: Sequence[int]) -> list[int]:
    """How long messages that arrive at these times take at a server that is exact."""
    timing = Timing(behaviour)
    return [timing.due(arrived) - arrived for arrived in arrivals]


def constant(rate: float, messages: int) -> list[int]:
    """Times in ns of messages that come evenly spaced."""
    return [round(number * SECOND / rate) for number in range(messages)]


def poisson(rate: float, messages: int, seed: int) -> list[int]:
    """Times in ns of messages that come by chance, independently."""
    chance = random.Random(seed)  # noqa: S311
    gaps = (chance.expovariate(rate) * SECOND for _ in range(messages))
    return [round(at) for at in accumulate(gaps)]


def percentile(values: Sequence[int], part: float) -> int:
    """The lowest value that ``part`` of the values do not exceed, exactly."""
    rank = math.ceil(round(part * len(values), 6))
    return sorted(values)[max(1, rank) - 1]


def gaps(times: Sequence[int]) -> list[int]:
    """From each time to the next one."""
    return [later - earlier for earlier, later in pairwise(times)]
