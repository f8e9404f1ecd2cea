"""Limits on connections: open at once, in all and from one address; and a second, from one."""

from __future__ import annotations

import socket
import time

from epollo import address
from epollo.engine import CloseReason, Connection
from epollo.logs.logger import logger
from epollo.reasons import Refusal
from epollo.server.counters import Counters
from epollo.server.rates import ConnectionRates
from epollo.server.shared_counts import Cell

_log = logger("epollo.server")


class ConnectionLimiter:
    """Counts a server's connections, from accept to close, and says which to refuse.

    A limit of 0 is no limit. Behind a proxy (``proxied``) many clients share one address, so the
    limit per address applies when `identify` gives the client's own.
    """

    def __init__(
        self,
        counters: Counters,
        max_connections: int = 0,
        max_per_ip: int = 0,
        *,
        max_rate_per_ip: float = 0,
        proxied: bool = False,
        cell: Cell | None = None,
    ) -> None:
        self.counters = counters
        self.bounded: bool = bool(max_connections or max_per_ip or max_rate_per_ip)
        self._max_connections = max_connections
        self._max_per_ip = max_per_ip
        self._max_rate_per_ip = max_rate_per_ip
        self._rates = ConnectionRates(max_rate_per_ip) if max_rate_per_ip else None
        self._cell = cell
        self.shares_total: bool = bool(cell is not None and max_connections)
        self._proxied = proxied
        self._hosts: dict[Connection, str] = {}
        self._open_by_host: dict[str, int] = {}
        self._refused: dict[Connection, Refusal] = {}
        self._last_warning = float("-inf")

    def host_of(self, sock: socket.socket) -> str:
        """The address that ``sock`` counts for; empty if for none, as on Unix sockets."""
        if not (self._max_per_ip or self._rates) or self._proxied:
            return ""
        try:
            return address.host_of(sock.getpeername())
        except OSError:  # reset in the accept queue
            return ""

    def refusal(self, host: str) -> Refusal | None:
        """Why a new connection from ``host`` is refused; None if it is not. Then it has a place,
        and `add` or `withdraw` comes next."""
        if self._max_connections and self._is_full():
            return Refusal.MAX_CONNECTIONS
        refusal = self._refusal_of(host) if host else None
        if refusal is not None:
            self.settle()
        return refusal

    def _is_full(self) -> bool:
        count = self.counters.open
        if count >= self._max_connections:
            return True
        cell = self._cell
        return cell is not None and not cell.admits(count + 1, self._max_connections)

    def _refusal_of(self, host: str) -> Refusal | None:
        if self._max_per_ip and self._is_full_for(host):
            return Refusal.MAX_PER_IP
        if self._rates is not None and self._rates.is_over(host):
            self._settle_host(host)
            return Refusal.MAX_CONNECT_RATE_PER_IP
        return None

    def _is_full_for(self, host: str) -> bool:
        count = self._open_by_host.get(host, 0)
        if count >= self._max_per_ip:
            return True
        if self._cell is None:
            return False
        admitted = self._cell.admits_host(host, count + 1, self._max_per_ip)
        if admitted is None:
            self._warn_unshared(host)
        return admitted is False

    def _warn_unshared(self, host: str) -> None:
        self.warn(f"connections of {host} are counted by this worker alone: the table is full")

    def settle(self) -> None:
        """Let the other processes know how many connections are open here."""
        if self.shares_total and self._cell is not None:
            self._cell.set_open(self.counters.open)

    def _settle_host(self, host: str) -> None:
        if self._cell is not None and self._max_per_ip:
            self._cell.set_host(host, self._open_by_host.get(host, 0))

    def withdraw(self, host: str) -> None:
        """A connection from ``host`` was not refused, but it could not be served."""
        self._settle_host(host)
        self.settle()

    def add(self, connection: Connection, host: str) -> None:
        """Count ``connection`` for ``host``."""
        if host and not connection.closed:
            self._hosts[connection] = host
            self._open_by_host[host] = self._open_by_host.get(host, 0) + 1
        elif host:
            self.withdraw(host)

    def remove(self, connection: Connection) -> Refusal | None:
        """Count a closed ``connection`` no more. Returns why `identify` refused it, if it did."""
        host = self._hosts.pop(connection, None)
        if host is not None:
            self._open_by_host[host] = count = self._open_by_host[host] - 1
            if not count:
                del self._open_by_host[host]
            if self._cell is not None and self._max_per_ip:
                self._cell.set_host(host, count)
        return self._refused.pop(connection, None)

    def identify(self, connection: Connection, host: str) -> None:
        """The proxy's client is ``host``: count the connection for it or, if that exceeds a limit,
        abort it as `CloseReason.REFUSED`."""
        refusal = self._refusal_of(host) if host else None
        if refusal is None:
            self.add(connection, host if self._max_per_ip else "")
            return
        self._refused[connection] = refusal
        self._warn_refused(refusal, host)
        connection.abort(CloseReason.REFUSED)

    def refuse(self, sock: socket.socket, refusal: Refusal, host: str) -> None:
        """Count a new connection as refused, then close it without sending a byte."""
        self.counters.accepted += 1
        self.counters.count_refused(refusal)
        sock.close()
        self._warn_refused(refusal, host)

    def warn(self, text: str, **fields: object) -> None:
        """Log at most once a second: thousands of connections may be refused in that time."""
        now = time.monotonic()
        if now - self._last_warning >= 1:
            self._last_warning = now
            _log.warning("%s", text, extra=fields)

    def _warn_refused(self, refusal: Refusal, host: str) -> None:
        if refusal is Refusal.MAX_PER_IP:
            limit = f"max_per_ip is {self._max_per_ip}, and {host} has as many"
        elif refusal is Refusal.MAX_CONNECT_RATE_PER_IP:
            limit = f"max_connect_rate_per_ip is {self._max_rate_per_ip:g}, and {host} made more"
        else:
            limit = f"max_connections is {self._max_connections}, and as many are open"
        self.warn(f"connection refused: {limit}", refusal=str(refusal), host=host)
