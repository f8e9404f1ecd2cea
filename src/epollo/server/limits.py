"""Who is let in: bounds on the connections open at once, of all and of one address."""

from __future__ import annotations

import logging
import socket
import time

from epollo import address
from epollo.engine import CloseReason, Connection
from epollo.server.counters import Counters, Refusal

_log = logging.getLogger("epollo.server")


class ConnectionLimiter:
    """Counts a server's connections, from accept to close, and says whom to refuse.

    0 is no bound. Where peers are proxies (``proxied``), whose one address stands for many
    clients, the bound on one address waits until `identify` tells the client's.
    """

    def __init__(
        self,
        counters: Counters,
        max_connections: int = 0,
        max_per_ip: int = 0,
        *,
        proxied: bool = False,
    ) -> None:
        self.counters = counters
        self.bounded = bool(max_connections or max_per_ip)
        self._max_connections = max_connections
        self._max_per_ip = max_per_ip
        self._proxied = proxied
        self._hosts: dict[Connection, str] = {}
        self._open_of: dict[str, int] = {}
        self._refused: dict[Connection, Refusal] = {}
        self._last_warning = float("-inf")

    def host_of(self, sock: socket.socket) -> str:
        """The address that ``sock`` counts for; empty for none, as of all on a Unix socket."""
        if not self._max_per_ip or self._proxied:
            return ""
        try:
            return address.host_of(sock.getpeername())
        except OSError:  # reset in the accept queue
            return ""

    def refusal(self, host: str) -> Refusal | None:
        """Why a newcomer from ``host`` cannot be taken, if so."""
        if self._max_connections and self.counters.open >= self._max_connections:
            return Refusal.MAX_CONNECTIONS
        if self._max_per_ip and host and self._open_of.get(host, 0) >= self._max_per_ip:
            return Refusal.MAX_PER_IP
        return None

    def add(self, connection: Connection, host: str) -> None:
        """``connection`` counts for ``host`` from now on."""
        if host and not connection.closed:
            self._hosts[connection] = host
            self._open_of[host] = self._open_of.get(host, 0) + 1

    def remove(self, connection: Connection) -> Refusal | None:
        """``connection`` is closed, and its place free; why it was turned away, if it was."""
        host = self._hosts.pop(connection, None)
        if host is not None:
            self._open_of[host] -= 1
            if not self._open_of[host]:
                del self._open_of[host]
        return self._refused.pop(connection, None)

    def identify(self, connection: Connection, host: str) -> None:
        """The client behind the proxy is ``host``: the connection counts for it from now on, or
        is aborted as `CloseReason.REFUSED`, where it is one too many."""
        if not self._max_per_ip or self._open_of.get(host, 0) < self._max_per_ip:
            self.add(connection, host if self._max_per_ip else "")
            return
        self._refused[connection] = Refusal.MAX_PER_IP
        self._warn_refused(Refusal.MAX_PER_IP, host)
        connection.abort(CloseReason.REFUSED)

    def refuse(self, sock: socket.socket, refusal: Refusal, host: str) -> None:
        """Close a newcomer at once, without a byte. When it sees that, it is counted."""
        self.counters.accepted += 1
        self.counters.count_refused(refusal)
        sock.close()
        self._warn_refused(refusal, host)

    def warn(self, text: str) -> None:
        """Log at most once a second: thousands may be refused in that time."""
        now = time.monotonic()
        if now - self._last_warning >= 1:
            self._last_warning = now
            _log.warning(text)

    def _warn_refused(self, refusal: Refusal, host: str) -> None:
        if refusal is Refusal.MAX_PER_IP:
            most = f"max_per_ip is {self._max_per_ip}, and {host} has as many"
        else:
            most = f"max_connections is {self._max_connections}, and as many are open"
        self.warn(f"connection refused: {most}")
