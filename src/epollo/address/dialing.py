"""Connecting to an address."""

from __future__ import annotations

import errno
import socket
from typing import Any

from epollo.address.forms import Address
from epollo.address.resolving import advice, no_delay, resolve
from epollo.errors import AddressError, ConnectFailed


def connect(address: Address, timeout: float | None) -> socket.socket:
    """A connected blocking socket. Raises ConnectFailed within ``timeout`` seconds."""
    return _connect(address, timeout)


def start_connect(address: Address) -> socket.socket:
    """A non-blocking socket whose connect is under way or, as for Unix sockets, done.

    Raises ConnectFailed where the kernel refuses at once.
    """
    return _connect(address, 0)


def _connect(address: Address, timeout: float | None) -> socket.socket:
    """Connect to the first that can be: localhost may be ::1 too, where nobody listens."""
    if address.fd is not None:
        raise AddressError(
            f"cannot connect to {address}: a descriptor is for a server to listen on"
        )
    try:
        *others, last = resolve(address)
        for other in others:
            try:
                return _connected(*other, timeout)
            except OSError:
                pass
        return _connected(*last, timeout)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could know
        raise ConnectFailed(f"cannot connect to {address}: {advice(error)}") from error


def _connected(family: int, sockaddr: Any, timeout: float | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        no_delay(sock)
        sock.connect(sockaddr)
    except BlockingIOError as error:
        if error.errno != errno.EINPROGRESS:  # EAGAIN: a Unix socket's accept queue is full
            sock.close()
            raise
    except BaseException:
        sock.close()
        raise
    return sock
