"""What is measured, one flat record each, and the figures made of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import quiet
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        part: of the run, such as `table`.
        case: within the part, such as the name of a point.
        server: the server's name.
        round: counted from 1.
        values: what was found, by name; rates are per second, latencies in microseconds.
    """

    part: str
    case: str
    server: str
    round: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of one value a round, with its spread. It is noisy if in one of the rounds the
    server or the load had to wait for its core for longer than in a quiet one."""

    median: float
    lowest: float
    highest: float
    noisy: bool = False


def figure(values: Sequence[float], *, noisy: bool = False) -> Figure | None:
    """Summarise the values; None where there are none."""
    return Figure(median(values), min(values), max(values), noisy) if values else None


@dataclass(frozen=True, slots=True)
class Series:
    """One value of one server in one case of one part."""

    part: str
    case: str
    server: Server
    value: str = "rate"

    def rounds(self, samples: Iterable[Sample]) -> dict[int, float]:
        """Return the value in each round that has it and counts."""
        return {s.round: s.values[self.value] for s in self.counted(samples)}

    def counted(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return the samples that have the value, but those in which one side had no core."""
        key = (self.part, self.case, self.server.name)
        return [
            s
            for s in samples
            if (s.part, s.case, s.server) == key
            and self.value in s.values
            and quiet.waited(s.values) <= quiet.TOLERATED
        ]

    def noisy(self, samples: Iterable[Sample]) -> bool:
        """Was one of the samples that count not quiet?"""
        return any(quiet.waited(s.values) > quiet.QUIET for s in self.counted(samples))

    def figure(self, samples: Sequence[Sample]) -> Figure | None:
        """Return the median and its spread."""
        return figure(list(self.rounds(samples).values()), noisy=self.noisy(samples))

    def over(self, base: "Series", samples: Sequence[Sample]) -> Figure | None:
        """Return the ratio to the base, taken within each round."""
        ours, theirs = self.rounds(samples), base.rounds(samples)
        ratios = [ours[r] / theirs[r] for r in ours if theirs.get(r)]
        return figure(ratios, noisy=self.noisy(samples) or base.noisy(samples))
