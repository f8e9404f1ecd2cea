"""Where the connections of a run come from, and what is said on them before the first message."""

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
from epollo.filters.proxy import Introduction, header
from epollo.filters.tls import TLS
from epollo.tls import ANY, client_context

_ADVICE = Advice(
    name="name the host that it is for as server_name",
    trust=f"name whom to trust as tls_ca, or {ANY!r} for whoever answers",
)


class Dialer:
    """Opens the connections of a workload, and says what comes first on each.

    The host is looked up, and certificates and sources are tried, once and before the first
    connection. ``address`` is what is connected to. Raises ConnectError for a host that is not
    found, SettingError for what cannot be used.
    """

    def __init__(self, workload: Workload) -> None:
        self._timeout = workload.timeout
        self._version = _version(workload)
        self._target = _target(workload)
        sources = [_source(text) for text in workload.source]
        self.address = _chosen(self._target.address, sources, workload.timeout)
        self._sources = _rotating(sources)
        self.filters: Callable[[Connection], Sequence[Filter]] | None = None
        if self._version or self._target.tls is not None:
            self.filters = self._filters

    def start(self) -> socket.socket:
        """A non-blocking socket whose connect is under way, from the next of the sources.

        Raises ConnectError where the kernel refuses at once.
        """
        source = next(self._sources) if self._sources is not None else None
        try:
            return address.start_connect(self.address, source)
        except ConnectError as error:
            if getattr(error.__cause__, "errno", 0) != errno.EADDRNOTAVAIL:
                raise
            why = "this side has no port left for it; give more addresses as source"
            raise self._failed(why) from error.__cause__

    def failed(self, error: BaseException | None) -> ConnectError:
        """The one line for a connection that could not be made: ``error`` is what it had when it
        was closed, or what `start` raised; None where nothing came at all."""
        if isinstance(error, ConnectError):
            return error
        if self._target.tls is not None and isinstance(error, TLSError | ConnectionResetError):
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            return handshake_error(self._target, cause, _ADVICE)
        if isinstance(error, OSError):
            return address.connect_error(self._target.address, error)
        return self._failed(f"nothing answers there within {self._timeout:g} s")

    def _failed(self, why: str) -> ConnectError:
        return ConnectError(f"cannot connect to {self._target}: {why}")

    def _filters(self, connection: Connection) -> list[Filter]:
        filters: list[Filter] = []
        if self._version:
            ends = [address.parse(name) for name in (connection.sockname, connection.peername)]
            filters.append(Introduction(header(self._version, *ends)))
        if self._target.tls is not None:
            filters.append(_client(self._target.tls, self._timeout, self._target.server_hostname))
        return filters


def _client(context: ssl.SSLContext, timeout: float, host: str | None) -> TLS:
    return TLS(context, timeout, server_side=False, server_hostname=host)


def _version(workload: Workload) -> str:
    if workload.proxy_header not in ("", "v1", "v2"):
        raise SettingError(f"proxy_header: {workload.proxy_header!r} is neither v1 nor v2")
    return workload.proxy_header


def _target(workload: Workload) -> Endpoint:
    """Whom to talk to, and the TLS to be spoken, tried once."""
    where, framing = address.parse(workload.address), workload.new_framing()
    if not workload.tls:
        for field in ("tls_ca", "tls_cert", "tls_key", "server_name"):
            if getattr(workload, field):
                raise SettingError(f"{field}: is for TLS; give tls too")
        return Endpoint(where, framing, None, None)
    context = client_context(workload.tls_ca, workload.tls_cert, workload.tls_key)
    name = workload.server_name or where.host or None
    if context.check_hostname and name is None:
        raise SettingError(f"server_name: {where} has no host; name the certificate's")
    try:
        _client(context, workload.timeout, name)
    except ValueError as error:
        raise SettingError(f"server_name: {name!r} is no name of a host: {error}") from None
    return Endpoint(where, framing, context, name)


def _source(text: str) -> tuple[int, Any]:
    """The family and socket address of one of this machine's addresses."""
    try:
        found = socket.getaddrinfo(text, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        raise SettingError(
            f"source: {text!r} is no IP address; write one of this machine's, such as 127.0.0.2"
        ) from None
    family, _, _, _, sockaddr = found[0]
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            address.bind_source(trial, sockaddr)
    except OSError:
        raise SettingError(
            f"source: {text} is no address of this machine; take one that `ip address` lists"
        ) from None
    return family, sockaddr


def _rotating(sources: Sequence[tuple[int, Any]]) -> Iterator[Any] | None:
    return cycle([sockaddr for _, sockaddr in sources]) if sources else None


def _chosen(where: Address, sources: Sequence[tuple[int, Any]], timeout: float) -> Address:
    """``where`` with its name looked up, once and not for each connection.

    A name may have several addresses: localhost is ::1 too, where perhaps nobody listens. The first
    that takes a connection is the one, as in wrk.
    """
    try:
        found = address.resolve(where)
    except (OSError, UnicodeError) as error:
        raise address.connect_error(where, error) from error
    for family, sockaddr in sources:
        found = [each for each in found if each[0] == family]
        if not found:
            source = address.host_of(sockaddr)
            raise SettingError(
                f"source: from {source} there is no way to {where}; take addresses of its kind"
            )
    if where.path:
        return where
    *others, last = [address.of(sockaddr) for _, sockaddr in found]
    return next((each for each in others if _takes(each, timeout)), last)


def _takes(where: Address, timeout: float) -> bool:
    try:
        address.connect(where, timeout).close()
    except ConnectError:
        return False
    return True
