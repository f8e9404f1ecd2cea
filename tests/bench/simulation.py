"""How often runs of the same kind are said to differ: the intervals of `epollo report` on trial.

Each run has seconds whose level is chance that depends on the second before (an AR(1) of the
logarithm), and messages whose latencies are exponential about that level. Two runs of a kind do not
differ: "no difference shown" is right, and should be said 95 times in 100.

    python -m tests.bench.simulation [PAIRS]
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from dataclasses import dataclass

from epollo.bench.compare.ratios import SAME, compare
from epollo.bench.results.histogram import Histogram
from epollo.bench.results.result import Result
from epollo.bench.results.second import Second
from epollo.bench.workload import Workload

FIGURES = ("rate", "mean", "p50", "p90", "p99", "p99.9")
_USUAL = 200_000  # ns
_SHOWN = ("rate", "p50", "p99")
_SIDES = (" higher", " lower")


@dataclass(frozen=True)
class Kind:
    """A kind of run: ``slower`` is what its latencies are multiplied by."""

    seconds: int = 20
    messages: int = 120  # a second
    spread: float = 0.1  # standard deviation of the level's logarithm
    memory: float = 0.0  # correlation of a second's level with that of the one before
    slower: float = 1.0
    between: float = 0.0  # standard deviation of the logarithm of a run's level

    def run(self, chance: random.Random) -> Result:
        levels = self._levels(chance)
        seconds = [self._second(chance, n, level) for n, level in enumerate(levels)]
        response = Histogram.sum(second.response for second in seconds)
        return Result(
            workload=Workload(address="127.0.0.1:8091", connections=1),
            started=0.0,
            elapsed=float(self.seconds),
            sent=response.total,
            bytes_sent=0,
            bytes_received=0,
            response=response,
            service=response,
            slip=Histogram(),
            answered=[response.total],
            connect=Histogram(),
            first_reply=Histogram(),
            seconds=seconds,
            errors={},
        )

    def _levels(self, chance: random.Random) -> list[float]:
        run = self.slower * math.exp(chance.gauss(0, self.between))
        level = chance.gauss(0, self.spread)
        levels = [level]
        for _ in range(self.seconds - 1):
            fresh = chance.gauss(0, self.spread) * math.sqrt(1 - self.memory**2)
            level = self.memory * level + fresh
            levels.append(level)
        return [run * math.exp(level) for level in levels]

    def _second(self, chance: random.Random, number: int, level: float) -> Second:
        response = Histogram()
        messages = round(self.messages / level)
        for _ in range(messages):
            response.record(round(chance.expovariate(1 / (_USUAL * level))))
        return Second(
            float(number), 1.0, None, messages, messages, 0, 1, response, response, Histogram()
        )


def agreeing(kind: Kind, pairs: int, seed: int) -> dict[str, float]:
    """The part of so many pairs in which "no difference shown" was said, by figure."""
    chance = random.Random(seed)  # noqa: S311
    same: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for _ in range(pairs):
        comparison = compare([kind.run(chance), kind.run(chance)])
        for row in comparison.rows:
            known[row.name] += row.changes[0].low is not None
            same[row.name] += row.changes[0].verdict == SAME
    return {name: same[name] / known[name] for name in FIGURES if known[name]}


def alarms(kind: Kind, repeats: tuple[int, int], trials: int, seed: int) -> Counter[str]:
    """In how many of so many comparisons of repeats of one kind a figure is said to be higher, or
    lower: as ``"p99 higher"``."""
    chance = random.Random(seed)  # noqa: S311
    found: Counter[str] = Counter()
    for _ in range(trials):
        sides = [[kind.run(chance) for _ in range(count)] for count in repeats]
        for row in compare(sides).rows:
            found[f"{row.name} {row.changes[0].verdict}"] += 1
    return found


def main() -> None:
    print_pairs()
    print_repeats()


def print_repeats() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"\nrepeats that differ by 10 %: false alarms, in % of {trials} comparisons")
    print(f"{'repeats':>10}", *(f"{name + side:>13}" for name in _SHOWN for side in _SIDES))
    kind = Kind(seconds=3, messages=60, between=0.1)
    for repeats in ((2, 2), (3, 1), (5, 1), (3, 3), (5, 5), (10, 1)):
        found = alarms(kind, repeats, trials, seed=sum(repeats))
        cells = [100 * found[name + side] / trials for name in _SHOWN for side in _SIDES]
        print(f"{repeats[0]:>6} + {repeats[1]}", *(f"{cell:13.1f}" for cell in cells), flush=True)


def print_pairs() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"no difference shown, in % of {pairs} pairs of runs that do not differ")
    print(f"{'seconds':>8} {'spread':>7} {'memory':>7}", *(f"{name:>7}" for name in FIGURES))
    for seconds in (10, 30, 60):
        for spread, memory in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.5), (0.1, 0.8)):
            kind = Kind(seconds=seconds, spread=spread, memory=memory)
            found = agreeing(kind, pairs, seed=seconds)
            cells = [f"{100 * found[n]:7.1f}" if n in found else "      -" for n in FIGURES]
            print(f"{seconds:>8} {spread:>7} {memory:>7}", *cells, flush=True)


if __name__ == "__main__":
    main()
