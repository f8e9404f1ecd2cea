"""Whom a client talks to, and how: what every client is told, read and checked once."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from epollo import address
from epollo.address import Address
from epollo.errors import SettingError
from epollo.framing import Framing, parse


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address, the framing spoken there, and TLS's context and name, or None where it is plain.

    ``server_hostname`` is what the server's certificate has to be for.
    """

    address: Address
    framing: Framing
    tls: ssl.SSLContext | None
    server_hostname: str | None

    def __str__(self) -> str:
        return str(self.address)


def make_endpoint(
    to: str,
    framing: str | Framing,
    max_frame: int,
    tls: ssl.SSLContext | bool | None,
    server_hostname: str | None,
) -> Endpoint:
    """What a client's arguments stand for. Raises AddressError, FramingSpecError, SettingError."""
    where = address.parse(to)
    address.check_connectable(where)
    context = _context(tls)
    name = server_hostname or where.host or None
    if context is None and server_hostname:
        raise SettingError("server_hostname: is for TLS; pass tls=True or an ssl.SSLContext too")
    if context is not None and context.check_hostname and name is None:
        raise SettingError(f"server_hostname: {to} has no host; name the certificate's")
    if not isinstance(max_frame, int):
        raise SettingError(f"max_frame: {max_frame!r} is no number of bytes")
    return Endpoint(where, parse(framing, max_frame), context, name)


def check_timeout(timeout: float | None) -> float | None:
    """``timeout`` where it is one. Raises SettingError."""
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise SettingError(f"timeout: {timeout!r} is no time over 0 s; None waits for ever")
    return timeout


def _context(tls: ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    if not isinstance(tls, bool):
        raise SettingError(f"tls: {tls!r} is neither True nor an ssl.SSLContext")
    return ssl.create_default_context() if tls else None
