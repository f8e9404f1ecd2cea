"""What connections of a loop have and hold, added up."""

from __future__ import annotations

from collections.abc import Iterable
from operator import length_hint
from typing import Any

from epollo.engine.pauses import HIGH_WATER, IN_FLIGHT, RATE, REPLYING, USER
from epollo.engine.traffic import Traffic

CAUSES = {
    USER: "user",
    HIGH_WATER: "high_water",
    IN_FLIGHT: "in_flight",
    RATE: "rate",
    REPLYING: "replying",
}
"""Why a connection that goes on is paused, and the name of each cause."""


class Survey(Traffic):
    """Sums over connections. A closed one holds nothing."""

    __slots__ = ("buffered", "held_back", "in_flight", "paused", "unsent")

    def __init__(self) -> None:
        super().__init__()
        self.unsent: int = 0  # bytes
        self.buffered: int = 0  # bytes
        self.held_back: int = 0  # messages
        self.in_flight: int = 0
        self.paused: dict[str, int] = dict.fromkeys(CAUSES.values(), 0)  # connections, by cause

    def look_at(self, connections: Iterable[Any]) -> None:
        """Add each of ``connections``."""
        for connection in connections:
            self.add(connection)
            if (
                connection.unsent
                or connection.in_flight
                or connection.paused  # as a closed one is
                or connection.held_back
            ):
                self._look_closer(connection)
            else:
                self.buffered += connection.partial_size()

    def _look_closer(self, connection: Any) -> None:
        if connection.closed:
            return
        self.unsent += connection.unsent
        self.buffered += connection.buffered
        if connection.held_back:
            self.held_back += length_hint(connection.held_back)
        self.in_flight += connection.in_flight
        for cause in causes_of(connection.paused):
            self.paused[cause] += 1


def causes_of(paused: int) -> list[str]:
    """The causes in the flags of one connection."""
    return [name for cause, name in CAUSES.items() if paused & cause]
