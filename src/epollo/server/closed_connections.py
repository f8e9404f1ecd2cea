"""The connections that were closed last, and why."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from epollo.causes import text_of
from epollo.engine import CloseReason, EngineConnection

MOST = 1000
"""As many are kept."""
MOST_TEXT = 500
"""Characters of an error, which may quote what a peer has sent."""

_NAMES = (
    *("id", "peer", "reason", "error", "at", "seconds"),
    *("messages_in", "messages_out", "bytes_in", "bytes_out", "unsent"),
)


class ClosedConnections:
    """Keeps the last `MOST` of them."""

    def __init__(self) -> None:
        self.total: int = 0
        self._records: deque[tuple[Any, ...]] = deque(maxlen=MOST)

    def add(self, connection: EngineConnection, reason: CloseReason) -> None:
        """``connection`` has ended."""
        self.total += 1
        record = (
            connection.id,
            connection.peername,
            str(reason),
            "" if connection.error is None else text_of(connection.error)[:MOST_TEXT],
            time.time(),
            round(time.monotonic() - connection.since, 3),
            connection.messages_in,
            connection.messages_out,
            connection.bytes_in,
            connection.bytes_out,
            connection.loop.dropped.get(connection, 0),
        )
        self._records.append(record)

    def newest(
        self, limit: int, reason: str | None = None, peer: str | None = None
    ) -> list[dict[str, Any]]:
        """Up to ``limit`` of them, the newest first; only those with that reason, and of that
        peer."""
        found: list[dict[str, Any]] = []
        for record in reversed(self._records):
            if len(found) >= limit:
                break
            values = dict(zip(_NAMES, record, strict=True))
            if reason in (None, values["reason"]) and (peer is None or is_of(values["peer"], peer)):
                found.append(values)
        return found


def is_of(peername: str, peer: str) -> bool:
    """Is ``peername`` the address ``peer``, or an address of the host ``peer``?"""
    if peername == peer:
        return True
    host, _, port = peername.rpartition(":")
    return port.isdigit() and host.strip("[]") == peer.strip("[]") != ""
