"""Limits on rates: messages of a connection, and new connections of an address, a second.

Both are token buckets that hold one second's worth, so a burst of that size passes at once. Of a
bucket only the time is kept at which it will be full again (the generic cell rate algorithm of ATM,
ITU-T I.371).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from epollo.engine import EngineConnection, EventLoop, Reply
from epollo.engine.pauses import RATE, RATE_ROUNDING

_SHORTEST_PAUSE = 0.01  # seconds; a timer for each message would cost more than the message
_MANY = 1024  # addresses, from which on those with full buckets are forgotten


class MessageRates:
    """Lets each connection deliver ``rate`` messages a second; over it, it is not read.

    The native engine counts by itself, with ``interval`` and ``burst``, and calls `pause`.
    """

    def __init__(self, rate: float) -> None:
        self.interval: float = 1 / rate  # seconds
        self.burst: float = max(1.0, self.interval)  # seconds
        self._full_at: dict[EngineConnection, float] = {}

    def begin(self, loop: EventLoop) -> None:
        """Serving begins: use the timers of ``loop``."""
        self._call_later = loop.call_later
        self._full_at.clear()

    def limited(
        self, receive: Callable[..., Reply], wants_connection: bool
    ) -> Callable[[bytes, EngineConnection], Reply]:
        """``receive``, which counts the messages."""

        def received(message: bytes, connection: EngineConnection) -> Reply:
            self._count(connection)
            return receive(message, connection) if wants_connection else receive(message)

        return received

    def forget(self, connection: EngineConnection) -> None:
        """The connection is closed."""
        self._full_at.pop(connection, None)

    def _count(self, connection: EngineConnection) -> None:
        now = time.monotonic()
        full_at = max(now, self._full_at.get(connection, now)) + self.interval
        self._full_at[connection] = full_at
        wait = full_at + self.interval - self.burst - now  # until the next message may come
        if wait > RATE_ROUNDING:
            self.pause(connection, wait)

    def pause(self, connection: EngineConnection, seconds: float) -> None:
        """Deliver nothing to ``connection`` for so long."""
        connection.pause_for(RATE)
        connection.schedule_update()
        self._call_later(max(seconds, _SHORTEST_PAUSE), partial(self._resume, connection))

    def _resume(self, connection: EngineConnection) -> None:
        if not connection.closed:
            connection.paused &= ~RATE
            connection.schedule_update()


class ConnectionRates:
    """Tells whether one more connection of a host is over ``rate`` a second."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._burst = max(1.0, self._interval)  # seconds
        self._full_at: dict[str, float] = {}
        self._most = _MANY

    def is_over(self, host: str) -> bool:
        """Count a new connection of ``host``, unless it is over the rate."""
        now = time.monotonic()
        full_at = max(now, self._full_at.get(host, now)) + self._interval
        if full_at - now > self._burst + RATE_ROUNDING:
            return True
        self._full_at[host] = full_at
        if len(self._full_at) > self._most:
            self._forget_full(now)
        return False

    def _forget_full(self, now: float) -> None:
        """Keep only the hosts that have come within a burst: at a cost per connection that does not
        grow with their number."""
        self._full_at = {host: at for host, at in self._full_at.items() if at > now}
        self._most = max(_MANY, 2 * len(self._full_at))
