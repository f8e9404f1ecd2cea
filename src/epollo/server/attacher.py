"""New connections become connections of the loop, or are refused."""

from __future__ import annotations

import socket
from collections.abc import Callable

from epollo.engine import Connection, ConnectionProtocol, EventLoop
from epollo.errors import PollerFull
from epollo.reasons import Refusal
from epollo.server.limits import ConnectionLimiter


class Attacher:
    """Attaches accepted sockets to the loop, for one protocol, within the limits on connections."""

    def __init__(
        self, loop: EventLoop, protocol: ConnectionProtocol, limiter: ConnectionLimiter
    ) -> None:
        self._loop = loop
        self._protocol = protocol
        self.limiter: ConnectionLimiter = limiter
        self._counters = limiter.counters

    @property
    def attach(self) -> Callable[[socket.socket], object]:
        """The function to call with each accepted socket."""
        return self._attach_within_limits if self.limiter.bounded else self._attach

    def refuse_for_descriptors(self, count: int = 1) -> None:
        """Count ``count`` connections that were refused since this process has no descriptor."""
        self._counters.accepted += count
        for _ in range(count):
            self._counters.count_refused(Refusal.DESCRIPTORS)
        self.limiter.warn("connection refused: no descriptors left; raise ulimit -n")

    def _attach_within_limits(self, sock: socket.socket) -> None:
        host = self.limiter.host_of(sock)
        refusal = self.limiter.refusal(host)
        if refusal is not None:
            self.limiter.refuse(sock, refusal, host)
            return
        connection = None
        try:
            connection = self._attach(sock)
        finally:
            if connection is None:
                self.limiter.withdraw(host)
            else:
                self.limiter.add(connection, host)

    def _attach(self, sock: socket.socket) -> Connection | None:
        self._counters.accepted += 1
        try:
            return self._loop.attach(sock, self._protocol)
        except BaseException as error:
            self._counters.count_refused(Refusal.POLLER)
            if not isinstance(error, PollerFull | OSError):
                raise
            self.limiter.warn(f"connection refused: {error}")
            return None
