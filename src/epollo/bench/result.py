"""The numbers of one run, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from epollo.bench.histogram import Histogram
from epollo.bench.workload import Workload

VERSION = 1
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


@dataclass(frozen=True, slots=True)
class Second:
    """What one second of the run brought; latencies in seconds."""

    messages: int
    p50: float
    p99: float
    errors: int  # in all, until now

    @classmethod
    def of(cls, histogram: Histogram, errors: int) -> Self:
        """The second whose latencies, in nanoseconds, are in ``histogram``."""
        p50, p99 = histogram.percentiles([50.0, 99.0])
        return cls(messages=histogram.total, p50=p50 / 1e9, p99=p99 / 1e9, errors=errors)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. Histograms hold nanoseconds; ``elapsed`` is in seconds, warm-up not counted.

    ``latency`` has every message of the window, once: one answered wrongly too, and one not
    answered with the time that it was waited for. ``answered`` has the number of right replies
    of each connection.
    """

    workload: Workload
    elapsed: float
    latency: Histogram
    answered: list[int]
    connect: Histogram
    first_reply: Histogram
    seconds: list[Second]
    errors: dict[str, int]

    @property
    def messages(self) -> int:
        """Messages that were answered rightly within the window."""
        return sum(self.answered)

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.elapsed if self.elapsed else 0.0

    @property
    def failed(self) -> bool:
        """Was anything lost, late or wrong, or nothing measured at all?"""
        return bool(self.errors) or not self.messages

    def to_json(self) -> str:
        """All of it, in seconds, as one JSON document."""
        return json.dumps(self._document(), indent=2)

    def _document(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "workload": asdict(self.workload),
            "elapsed": self.elapsed,
            "messages": self.messages,
            "rate": self.rate,
            "latency": summary(self.latency),
            "connect": summary(self.connect),
            "first_reply": summary(self.first_reply),
            "connections": {
                "opened": self.connect.total,
                "slowest": min(self.answered, default=0),
                "fastest": max(self.answered, default=0),
            },
            "seconds": [asdict(second) for second in self.seconds],
            "errors": self.errors,
        }


def summary(histogram: Histogram) -> dict[str, Any]:
    """The figures of a histogram of nanoseconds, in seconds."""
    values = histogram.percentiles(PERCENTILES)
    return {
        "count": histogram.total,
        "mean": histogram.mean / 1e9,
        "deviation": histogram.deviation / 1e9,
        "minimum": histogram.minimum / 1e9,
        "maximum": histogram.maximum / 1e9,
        "percentiles": {f"{p:g}": v / 1e9 for p, v in zip(PERCENTILES, values, strict=True)},
    }
