"""What the tester itself takes for an exchange: its own floor on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import number, text

NEAR = 3.0  # times the floor's median; times up to that are mostly the tester's own


@dataclass(frozen=True, slots=True)
class Floor:
    """Round trips between this tester and a server that does nothing, before the run.

    Attributes:
        messages: how many there were, one after the other on one connection.
        minimum, p50, p99: of them, in ns. The minimum is the least affected by a busy machine.
        exchange: what was sent, in words.
    """

    messages: int
    minimum: float
    p50: float
    p99: float
    exchange: str

    @classmethod
    def of(cls, times: Histogram, exchange: str) -> Self:
        """The floor that these round trips, in ns, show."""
        p50, p99 = times.percentiles((50.0, 99.0))
        return cls(times.total, times.minimum, p50, p99, exchange)

    def is_near(self, time: float | None) -> bool:
        """Is this time in ns mostly the tester's own?"""
        return time is not None and time <= NEAR * self.p50

    def to_document(self) -> dict[str, Any]:
        """In seconds."""
        return {
            "messages": self.messages,
            "minimum": self.minimum / 1e9,
            "p50": self.p50 / 1e9,
            "p99": self.p99 / 1e9,
            "exchange": self.exchange,
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``."""
        return cls(
            int(number(document["messages"])),
            number(document["minimum"]) * 1e9,
            number(document["p50"]) * 1e9,
            number(document["p99"]) * 1e9,
            text(document["exchange"]),
        )
