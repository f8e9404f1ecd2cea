"""Counters of a server: connections accepted, refused and closed. Nothing per message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from epollo.reasons import CloseReason, Refusal
from epollo.server.groups.broker import BrokerCounts


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since the server was created, consistent with each other: `epollo.Server.counters`.

    Each accepted connection is refused, open or closed: ``accepted`` is the sum of these.
    """

    accepted: int
    """Connections that accept(2) returned."""
    refused: Mapping[Refusal, int]
    """Connections closed at once, by cause; every cause is a key."""
    closed: Mapping[CloseReason, int]
    """Connections that were served and are closed, by reason; every reason is a key."""
    broker: BrokerCounts = field(default_factory=BrokerCounts)
    """What the connection to the setting ``broker`` has counted; consistent in itself only."""

    @property
    def open(self) -> int:
        """Connections open at that moment, including those in their TLS handshake."""
        return self.accepted - sum(self.refused.values()) - sum(self.closed.values())


class Counters:
    """Counters that the loop's thread changes and any thread reads."""

    __slots__ = ("_closed", "_gone", "_refused", "accepted", "on_gone")

    def __init__(self) -> None:
        self.accepted: int = 0
        self._refused = dict.fromkeys(Refusal, 0)
        self._closed = dict.fromkeys(CloseReason, 0)
        self._gone = 0  # refused and closed together
        self.on_gone: Callable[[], object] | None = None  # told of each of these

    @property
    def open(self) -> int:
        """Connections open now. In the loop's thread only."""
        return self.accepted - self._gone

    def count_refused(self, refusal: Refusal) -> None:
        self._refused[refusal] += 1
        self._gone += 1
        if self.on_gone is not None:
            self.on_gone()

    def count_closed(self, reason: CloseReason) -> None:
        self._closed[reason] += 1
        self._gone += 1
        if self.on_gone is not None:
            self.on_gone()

    def snapshot(self) -> Counts:
        """A consistent copy, without a lock, which would cost every connection: counters never
        decrease, so if two readings are equal, nothing changed between them."""
        before = self._read()
        while (after := self._read()) != before:
            before = after
        return after

    def _read(self) -> Counts:
        return Counts(self.accepted, self._refused.copy(), self._closed.copy())
