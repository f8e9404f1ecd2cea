"""Connecting, for the blocking client."""

from __future__ import annotations

import ssl

from epollo import address
from epollo.client.blocking.deadline import Deadline, DeadlinePassed
from epollo.client.blocking.transport import SyncTransport
from epollo.client.endpoint import Endpoint
from epollo.client.handshake import handshake_error
from epollo.client.transport import encrypted
from epollo.errors import ConnectError


def dial(endpoint: Endpoint, deadline: Deadline) -> SyncTransport:
    """Connect to ``endpoint``. Raises ConnectError and TLSHandshakeError."""
    try:
        sock = address.connect(endpoint.address, deadline.remaining())
        try:
            address.find_dead_peer(sock, endpoint.keepalive)
            if endpoint.tls is not None:
                sock = wrapped = encrypted(sock, endpoint)
                _handshake(wrapped, endpoint, deadline)
            return SyncTransport(sock)
        except OSError as error:
            sock.close()
            if isinstance(error, ConnectError):
                raise
            raise address.connect_error(endpoint.address, error) from error
        except BaseException:
            sock.close()
            raise
    except DeadlinePassed:
        raise address.connect_error(endpoint.address, TimeoutError("timed out")) from None


def start_tls(transport: SyncTransport, endpoint: Endpoint, deadline: Deadline) -> None:
    """Begin TLS on ``transport``. Raises TLSHandshakeError, with its socket closed."""
    sock = transport.encrypt(endpoint)
    try:
        _handshake(sock, endpoint, deadline)
        sock.setblocking(False)
    except DeadlinePassed:
        sock.close()
        raise handshake_error(endpoint, TimeoutError()) from None
    except BaseException:
        sock.close()
        raise


def _handshake(sock: ssl.SSLSocket, endpoint: Endpoint, deadline: Deadline) -> None:
    try:
        sock.settimeout(deadline.remaining())  # for the whole handshake
        sock.do_handshake()
    except (OSError, ValueError) as error:
        raise handshake_error(endpoint, error) from error
