"""What one agent of a run measured, next to the sum of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import number, optional, text

_COUNTS = ("connections", "seed", "sent", "messages")
_TIMES = ("part", "rate", "cpu")
_KNOWN = ("round_trip", "waited")
_HISTOGRAMS = ("response", "service", "slip")


@dataclass(frozen=True, slots=True)
class AgentPart:
    """A process of `--processes`, or a worker of `--cluster`. Histograms hold nanoseconds.

    Attributes:
        name: of the agent.
        missing: why it has no result; empty if it has. Then all that it measured is left out of
            the sum too.
        connections: of its share.
        part: of the load that is its share, from 0 to 1.
        seed: of its own random arrivals.
        round_trip: seconds from the order to begin until the agent was known to have it: by so
            much may it have begun later than another. None if it shares a clock with the others.
        sent, messages, rate, response, service, slip, cpu, waited: as in Result.
    """

    name: str
    missing: str
    connections: int
    part: float
    seed: int
    round_trip: float | None
    sent: int
    messages: int
    rate: float
    response: Histogram
    service: Histogram
    slip: Histogram
    cpu: float
    waited: float | None

    @classmethod
    def missing_of(cls, name: str, connections: int, part: float, seed: int, why: str) -> Self:
        """The part of an agent that was lost."""
        nothing = Histogram()
        return cls(
            name=name,
            missing=why,
            connections=connections,
            part=part,
            seed=seed,
            round_trip=None,
            sent=0,
            messages=0,
            rate=0.0,
            response=nothing,
            service=nothing,
            slip=nothing,
            cpu=0.0,
            waited=None,
        )

    def to_document(self) -> dict[str, Any]:
        """In JSON; the histograms as HdrHistogram encodes them."""
        plain = {
            name: getattr(self, name) for name in ("name", "missing", *_COUNTS, *_TIMES, *_KNOWN)
        }
        return {**plain, **{name: getattr(self, name).encode() for name in _HISTOGRAMS}}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``."""
        values: dict[str, Any] = {name: text(document[name]) for name in ("name", "missing")}
        values |= {name: int(number(document[name])) for name in _COUNTS}
        values |= {name: number(document[name]) for name in _TIMES}
        values |= {name: optional(document[name]) for name in _KNOWN}
        values |= {name: Histogram.decode(document[name]) for name in _HISTOGRAMS}
        return cls(**values)


def missing(parts: Iterable[AgentPart]) -> list[AgentPart]:
    """Those without a result."""
    return [part for part in parts if part.missing]
