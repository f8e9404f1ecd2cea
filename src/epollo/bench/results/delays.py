"""Where the time of the replies went: what the kernel knows of the tester, and of the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from epollo.bench.results.histogram import Histogram
from epollo.bench.results.reading import number, optional

_TIMES = ("waits", "reads", "sends", "lags")


@dataclass(frozen=True, slots=True)
class Delays:
    """The samples of the window. Histograms hold nanoseconds.

    Attributes:
        waits: of the replies sampled, the time from the send of the oldest message outstanding on
            their connection to the moment in which they were read.
        reads: of the same replies, the part of it after they had arrived in the kernel (its
            receive stamps).
        sends: of the same replies, the time until the tester had sent the message that follows in
            a closed loop, which is timed from the moment in which the reply was read. All three
            are empty if the kernel gave no stamps, as for Unix sockets.
        lags: how late the tester's loop was at moments that are evenly spaced. A reply that arrives
            at any moment is read as late, so this is known without stamps too; but the timers of
            the loop are late by up to 1 ms in any case.
        own_without_core: of the sum of reads and sends, the ns in which the tester was ready to run
            and had no processor; None if the kernel does not tell.
        lags_without_core: the same of the lags.
        server_without_core: the part of the window in which the server's threads were ready to run
            and had no processor, on average by their work. None if it is not on this machine, or
            not known.
        server_starved: the same part of the time of the messages, from send to reply: in a run with
            few messages, most of it may be without a processor.
        pressure: the part of the window in which some program of the machine waited for a
            processor (PSI); None if the kernel does not tell.
    """

    waits: Histogram
    reads: Histogram
    sends: Histogram
    lags: Histogram
    own_without_core: float | None = None
    lags_without_core: float | None = None
    server_without_core: float | None = None
    server_starved: float | None = None
    pressure: float | None = None

    @classmethod
    def merged(cls, of: Iterable[Delays]) -> Self | None:
        """Those of several processes that ran the same workload at the same time."""
        each = list(of)
        if not each:
            return None
        sums = {name: Histogram.sum(getattr(d, name) for d in each) for name in _TIMES}
        return cls(
            **sums,
            own_without_core=_sum([d.own_without_core for d in each]),
            lags_without_core=_sum([d.lags_without_core for d in each]),
            server_without_core=_most([d.server_without_core for d in each]),
            server_starved=_most([d.server_starved for d in each]),
            pressure=_most([d.pressure for d in each]),
        )

    def to_document(self) -> dict[str, Any]:
        """In seconds."""
        return {
            **{name: _summary(getattr(self, name)) for name in _TIMES},
            "own_without_core": _seconds(self.own_without_core),
            "lags_without_core": _seconds(self.lags_without_core),
            "server_without_core": self.server_without_core,
            "server_starved": self.server_starved,
            "pressure": self.pressure,
        }

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """The reverse of ``to_document``."""
        times = {name: _times(document[name]) for name in _TIMES}
        return cls(
            **times,
            own_without_core=_nanoseconds(document["own_without_core"]),
            lags_without_core=_nanoseconds(document["lags_without_core"]),
            server_without_core=optional(document["server_without_core"]),
            server_starved=optional(document.get("server_starved")),
            pressure=optional(document["pressure"]),
        )


def _summary(times: Histogram) -> dict[str, Any]:
    some = times.total > 0
    p50, p99 = times.known_percentiles((50.0, 99.0))
    return {
        "count": times.total,
        "mean": times.mean / 1e9 if some else None,
        "p50": _seconds(p50),
        "p99": _seconds(p99),
        "maximum": times.maximum / 1e9 if some else None,
        "encoded": times.encode(),
    }


def _times(document: dict[str, Any]) -> Histogram:
    return Histogram.decode(document["encoded"])


def _seconds(value: float | None) -> float | None:
    return None if value is None else value / 1e9


def _nanoseconds(value: Any) -> float | None:
    return None if value is None else number(value) * 1e9


def _sum(values: list[float | None]) -> float | None:
    """Their sum; None if one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _most(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
