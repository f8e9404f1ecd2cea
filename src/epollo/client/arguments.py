"""The arguments of both clients, checked once."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TypeAlias, TypedDict, TypeGuard

from epollo import address
from epollo.client import match as matching
from epollo.client.backoff import Backoff
from epollo.client.endpoint import Endpoint
from epollo.client.match import Getter, Match
from epollo.errors import SettingError
from epollo.framing import AnyFraming, parse
from epollo.framing.own import checked

_LONGEST_TIMEOUT = 1e9  # seconds, over 30 years; a longer timeout is no limit

Timeout: TypeAlias = float | EllipsisType | None
"""The timeout of one call in seconds: None is no limit, ``...`` is the client's own timeout."""


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `epollo.connect` and `epollo.AsyncClient`."""

    tls: ssl.SSLContext | bool | None
    server_hostname: str | None
    reconnect: Backoff | bool
    match: str | Getter | Match | None
    on_push: Callable[[bytes], object] | None
    keepalive: float


@dataclass(frozen=True, slots=True)
class ClientArguments:
    """The arguments of a client, checked."""

    endpoint: Endpoint
    timeout: float | None
    backoff: Backoff | None
    match: Match | None
    on_push: Callable[[bytes], object] | None


def read_arguments(
    to: str,
    framing: AnyFraming,
    timeout: float | None,
    max_frame: int,
    *,
    tls: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    reconnect: Backoff | bool = False,
    match: str | Getter | Match | None = None,
    on_push: Callable[[bytes], object] | None = None,
    keepalive: float = 60.0,
) -> ClientArguments:
    """The arguments of a client, checked. Raises AddressError, FramingSpecError and
    SettingError."""
    check_timeout(timeout)
    if not isinstance(reconnect, Backoff | bool):
        raise SettingError(f"reconnect: {reconnect!r} is neither True nor a Backoff")
    if on_push is not None and match is None:
        raise SettingError("on_push: needs match; without it a push cannot be told from a reply")
    if on_push is not None and not callable(on_push):
        raise SettingError(f"on_push: {on_push!r} is not a function")
    if matching.is_async(on_push):
        raise SettingError(f"on_push: {on_push!r} is async; pass a plain function")
    if not _is_number(keepalive) or not keepalive >= 0:
        raise SettingError(f"keepalive: {keepalive!r} is not a time of 0 s or more; 0 is never")
    backoff = reconnect if isinstance(reconnect, Backoff) else Backoff() if reconnect else None
    endpoint = _endpoint(to, framing, max_frame, tls, server_hostname, keepalive)
    return ClientArguments(endpoint, timeout, backoff, matching.parse(match), on_push)


def check_timeout(timeout: object) -> None:
    """Raises SettingError if ``timeout`` is neither a time over 0 s nor None."""
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        raise SettingError(f"timeout: {timeout!r} is not a time over 0 s; None waits without limit")


def limit_of(timeout: float | None) -> float | None:
    """``timeout``, checked. None is no limit; so is a time of many years. Raises SettingError."""
    check_timeout(timeout)
    return None if timeout is None or timeout > _LONGEST_TIMEOUT else timeout


_AFTER_ERROR = 1.0  # seconds


def after_error(limit: float | None) -> float:
    """Seconds that a close may take when a block is left with an error; other closes may take
    ``limit``."""
    return _AFTER_ERROR if limit is None else min(limit, _AFTER_ERROR)


class HasTimeout:
    """A client's ``timeout``, in seconds; None is no limit. Setting it raises SettingError."""

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout

    @property
    def timeout(self) -> float | None:
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._limit = limit_of(timeout)
        self._timeout = timeout

    def _limit_of(self, timeout: Timeout) -> float | None:
        """The timeout of one call: its own, or for ``...`` the client's. Raises SettingError."""
        return self._limit if isinstance(timeout, EllipsisType) else limit_of(timeout)


def _is_number(value: object) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value == value  # NaN is not equal to itself


def _endpoint(
    to: str,
    framing: AnyFraming,
    max_frame: int,
    tls: ssl.SSLContext | bool | None,
    server_hostname: str | None,
    keepalive: float,
) -> Endpoint:
    where = address.parse(to)
    address.check_connectable(where)
    context, name = _checked_tls(where, tls, server_hostname)
    if type(max_frame) is not int:
        raise SettingError(f"max_frame: {max_frame!r} is not a number of bytes")
    return Endpoint(where, checked(parse(framing, max_frame)), context, name, keepalive)


def with_tls(
    endpoint: Endpoint, tls: ssl.SSLContext | bool, server_hostname: str | None
) -> Endpoint:
    """``endpoint`` with TLS. Raises SettingError."""
    context, name = _checked_tls(endpoint.address, tls, server_hostname)
    return replace(endpoint, tls=context, server_hostname=name)


def _checked_tls(
    where: address.Address, tls: ssl.SSLContext | bool | None, server_hostname: str | None
) -> tuple[ssl.SSLContext | None, str | None]:
    context = _context(tls)
    if not isinstance(server_hostname, str | None):
        raise SettingError(f"server_hostname: {server_hostname!r} is not a host name")
    if context is None and server_hostname:
        raise SettingError("server_hostname: needs TLS; pass tls=True or an ssl.SSLContext too")
    name = address.certificate_name(server_hostname or where.host) or None
    if context is not None and context.check_hostname and name is None:
        raise SettingError(
            f"server_hostname: {where} has no host; pass the certificate's host name"
        )
    return context, name


def _context(tls: ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    if not isinstance(tls, bool):
        raise SettingError(f"tls: {tls!r} is neither True nor an ssl.SSLContext")
    return ssl.create_default_context() if tls else None
