"""The connections that were closed last, and why."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

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

_PEER, _REASON = _NAMES.index("peer"), _NAMES.index("reason")

Closed: TypeAlias = tuple[Any, ...]
"""The record of one connection: values in the order of `_NAMES`."""


class ClosedConnections:
    """Keeps the last `MOST` of them."""

    def __init__(self) -> None:
        self.total: int = 0
        self._records: deque[Closed] = deque(maxlen=MOST)

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

    def newest(self) -> Iterator[Closed]:
        """Those that there are now, the newest first."""
        return reversed(list(self._records))

    @staticmethod
    def is_wanted(closed: Closed, reason: str | None, peer: str | None) -> bool:
        """Was it closed for that reason, and was that its peer? None is any."""
        return reason in (None, closed[_REASON]) and (peer is None or is_of(closed[_PEER], peer))

    @staticmethod
    def described(closed: Closed) -> Mapping[str, Any]:
        """What JSON can say of it."""
        return dict(zip(_NAMES, closed, strict=True))


def is_of(peername: str, peer: str) -> bool:
    """Is ``peername`` the address ``peer``, or an address of the host ``peer``?"""
    if peername == peer:
        return True
    host, _, port = peername.rpartition(":")
    return port.isdigit() and host.strip("[]") == peer.strip("[]") != ""
