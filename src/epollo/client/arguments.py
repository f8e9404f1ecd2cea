"""The arguments of both clients, checked once."""

from __future__ import annotations

import ssl
from typing import TypedDict

from epollo import address
from epollo.client.backoff import Backoff
from epollo.client.endpoint import Endpoint
from epollo.errors import SettingError
from epollo.framing import Framing, parse


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `epollo.connect` and `epollo.AsyncClient`."""

    tls: ssl.SSLContext | bool | None
    server_hostname: str | None
    reconnect: Backoff | bool


def read_arguments(
    to: str,
    framing: str | Framing,
    timeout: float | None,
    max_frame: int,
    *,
    tls: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    reconnect: Backoff | bool = False,
) -> tuple[Endpoint, float | None, Backoff | None]:
    """The endpoint, the timeout and the backoff that a client's arguments describe. Raises
    AddressError, FramingSpecError and SettingError."""
    endpoint = _endpoint(to, framing, max_frame, tls, server_hostname)
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise SettingError(f"timeout: {timeout!r} is not a time over 0 s; None waits without limit")
    if isinstance(reconnect, Backoff):
        return endpoint, timeout, reconnect
    return endpoint, timeout, Backoff() if reconnect else None


def _endpoint(
    to: str,
    framing: str | Framing,
    max_frame: int,
    tls: ssl.SSLContext | bool | None,
    server_hostname: str | None,
) -> Endpoint:
    where = address.parse(to)
    address.check_connectable(where)
    context = _context(tls)
    name = server_hostname or where.host or None
    if context is None and server_hostname:
        raise SettingError("server_hostname: needs TLS; pass tls=True or an ssl.SSLContext too")
    if context is not None and context.check_hostname and name is None:
        raise SettingError(f"server_hostname: {to} has no host; pass the certificate's host name")
    if not isinstance(max_frame, int):
        raise SettingError(f"max_frame: {max_frame!r} is not a number of bytes")
    return Endpoint(where, parse(framing, max_frame), context, name)


def _context(tls: ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    if not isinstance(tls, bool):
        raise SettingError(f"tls: {tls!r} is neither True nor an ssl.SSLContext")
    return ssl.create_default_context() if tls else None
