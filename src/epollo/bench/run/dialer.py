"""How the connections of a run are made: addresses, TLS and PROXY headers."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

from epollo import address
from epollo.address import Address
from epollo.bench.workload import Workload
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import Advice, handshake_error
from epollo.engine import Connection
from epollo.errors import ConnectError, SettingError, TLSError
from epollo.filters.base import Filter
from epollo.filters.proxy import ProxyHeaderSender, header
from epollo.filters.tls import TLS
from epollo.tls import ANY, TLS_1_2, client_context

_ADVICE = Advice(
    name="give the name in the certificate as server_name",
    trust=f"name its CA as tls_ca, or {ANY!r} to accept any certificate",
)


class Dialer:
    """Starts the connects of a workload, and makes the filters of each connection.

    The host is looked up, and certificates and sources are tried, once and before the first
    connect. ``address`` is the one connected to. Raises ConnectError if the host is not found,
    SettingError for a setting that cannot be used.
    """

    def __init__(self, workload: Workload) -> None:
        self._timeout = workload.timeout
        self._version = _version(workload)
        self._target = _target(workload)
        sources = [_source(text) for text in workload.source]
        self.address: Address = _chosen(self._target.address, sources, workload.timeout)
        self._sources = _rotating(sources)
        self.filters: Callable[[Connection], Sequence[Filter]] | None = None
        if self._version or self._target.tls is not None:
            self.filters = self._filters

    def start(self) -> socket.socket:
        """A non-blocking socket whose connect is under way, from the next of the sources.

        Raises ConnectError if the kernel refuses at once.
        """
        source = next(self._sources) if self._sources is not None else None
        try:
            return address.start_connect(self.address, source)
        except ConnectError as error:
            if getattr(error.__cause__, "errno", 0) != errno.EADDRNOTAVAIL:
                raise
            why = "no local port is left; give more addresses as source"
            raise self._failed(why) from error.__cause__

    def failed(self, error: BaseException | None) -> ConnectError:
        """The error to report if no connection could be made. ``error`` is the connection's error,
        or what `start` raised; None if the connect timed out."""
        if isinstance(error, ConnectError):
            return error
        if self._target.tls is not None and isinstance(error, TLSError | ConnectionResetError):
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            return handshake_error(self._target, cause, _ADVICE)
        if isinstance(error, OSError):
            return address.connect_error(self._target.address, error)
        return self._failed(f"no answer within {self._timeout:g} s")

    def _failed(self, why: str) -> ConnectError:
        return ConnectError(f"cannot connect to {self._target}: {why}")

    def _filters(self, connection: Connection) -> list[Filter]:
        filters: list[Filter] = []
        if is_self_connected(connection):  # then `BenchConnection.connected` refuses it
            return filters
        if self._version:
            ends = [address.parse(name) for name in (connection.sockname, connection.peername)]
            filters.append(ProxyHeaderSender(header(self._version, *ends)))
        if self._target.tls is not None:
            filters.append(_client(self._target.tls, self._timeout, self._target.server_hostname))
        return filters


def is_self_connected(connection: Connection) -> bool:
    """Is it a connection of a socket with itself, which echoes perfectly? See
    `epollo.address.dialing.is_self_connected`."""
    return connection.sockname == connection.peername != ""


def _client(context: ssl.SSLContext, timeout: float, host: str | None) -> TLS:
    return TLS(context, timeout, server_side=False, server_hostname=host)


def _version(workload: Workload) -> str:
    if workload.proxy_header not in ("", "v1", "v2"):
        raise SettingError(f"proxy_header: {workload.proxy_header!r} is neither v1 nor v2")
    return workload.proxy_header


_ONLY_TLS = ("tls_ca", "tls_cert", "tls_key", "tls_alpn", "tls_min_version", "server_name")


def _context(workload: Workload) -> ssl.SSLContext:
    return client_context(
        workload.tls_ca,
        workload.tls_cert,
        workload.tls_key,
        alpn=workload.tls_alpn,
        min_version=workload.tls_min_version,
    )


def _target(workload: Workload) -> Endpoint:
    """The address, the framing and the TLS settings, tried once."""
    server, framing = address.parse(workload.address), workload.new_framing()
    if not workload.tls:
        for field in _ONLY_TLS:
            if getattr(workload, field) not in ("", (), TLS_1_2):
                raise SettingError(f"{field}: only for TLS; give tls too")
        return Endpoint(server, framing, None, None)
    context = _context(workload)
    name = address.certificate_name(workload.server_name or server.host) or None
    if context.check_hostname and name is None:
        raise SettingError(f"server_name: {server} has no host; give the name in its certificate")
    try:
        _client(context, workload.timeout, name)
    except ValueError as error:
        raise SettingError(f"server_name: {name!r} is not a host name: {error}") from None
    return Endpoint(server, framing, context, name)


def _source(text: str) -> tuple[int, Any]:
    """The family and socket address of one of this machine's addresses."""
    try:
        found = socket.getaddrinfo(text, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        raise SettingError(
            f"source: {text!r} is not an IP address; write one of this machine, such as 127.0.0.2"
        ) from None
    family, _, _, _, sockaddr = found[0]
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            address.bind_source(trial, sockaddr)
    except OSError:
        raise SettingError(
            f"source: {text} is not an address of this machine; use one that `ip address` lists"
        ) from None
    return family, sockaddr


def _rotating(sources: Sequence[tuple[int, Any]]) -> Iterator[Any] | None:
    return cycle([sockaddr for _, sockaddr in sources]) if sources else None


def _chosen(server: Address, sources: Sequence[tuple[int, Any]], timeout: float) -> Address:
    """``server`` with its name resolved, once for all connections.

    A name may have several addresses: localhost is also ::1, on which perhaps nothing listens. As
    in wrk, the first address that accepts a connection is used.
    """
    try:
        found = address.resolve(server)
    except (OSError, UnicodeError) as error:
        raise address.connect_error(server, error) from error
    for family, sockaddr in sources:
        found = [each for each in found if each[0] == family]
        if not found:
            source = address.host_of(sockaddr)
            raise SettingError(
                f"source: {server} cannot be reached from {source}; use addresses of its family"
            )
    if server.path:
        return server
    *others, last = [address.of(sockaddr) for _, sockaddr in found]
    return next((each for each in others if _accepts(each, timeout)), last)


def _accepts(candidate: Address, timeout: float) -> bool:
    try:
        address.connect(candidate, timeout).close()
    except ConnectError:
        return False
    return True
