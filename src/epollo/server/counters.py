"""What a server counts: connections, as they come and as they go. Nothing per message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from epollo.engine import CloseReason


class Refusal(StrEnum):
    """Why a connection was closed as soon as it was accepted, and never served."""

    MAX_CONNECTIONS = "max_connections"  # so many are open already
    MAX_PER_IP = "max_per_ip"  # so many are open from its address
    DESCRIPTORS = "descriptors"  # none is left to serve it with (ulimit -n)
    POLLER = "poller"  # the poller cannot watch it, or it could not be set up


@dataclass(frozen=True, slots=True)
class Counts:
    """What `epollo.Server.counters` gives: totals since the server was made, of one moment.

    Each connection accepted is refused, open or closed: ``accepted`` is the sum of these.
    """

    accepted: int
    """Connections that accept(2) gave, whatever became of them."""
    refused: Mapping[Refusal, int]
    """Of those, the ones closed at once, by cause; every cause is there."""
    closed: Mapping[CloseReason, int]
    """Of those, the ones that were served and are closed, by reason; every reason is there."""

    @property
    def open(self) -> int:
        """Connections open at that moment; one that is only being greeted (TLS) is one too."""
        return self.accepted - sum(self.refused.values()) - sum(self.closed.values())


class Counters:
    """Counted by the loop's thread, read by any."""

    __slots__ = ("_closed", "_gone", "_refused", "accepted")

    def __init__(self) -> None:
        self.accepted = 0
        self._refused = dict.fromkeys(Refusal, 0)
        self._closed = dict.fromkeys(CloseReason, 0)
        self._gone = 0  # the sum of both

    @property
    def open(self) -> int:
        """Connections open now. For the loop's thread."""
        return self.accepted - self._gone

    def count_refused(self, refusal: Refusal) -> None:
        self._refused[refusal] += 1
        self._gone += 1

    def count_closed(self, reason: CloseReason) -> None:
        self._closed[reason] += 1
        self._gone += 1

    def snapshot(self) -> Counts:
        """All of one moment, without a lock that each connection would pay for: no counter ever
        goes down, so two readings that are equal tell what was true all the time between them."""
        before = self._read()
        while (after := self._read()) != before:
            before = after
        return after

    def _read(self) -> Counts:
        return Counts(self.accepted, self._refused.copy(), self._closed.copy())
