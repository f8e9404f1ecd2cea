"""Connecting to an address."""

from __future__ import annotations

import errno
import socket
import sys
import time
from typing import Any

from epollo.address.forms import Address
from epollo.address.resolving import advice, no_delay, resolve
from epollo.errors import AddressError, ConnectError

LONGEST_WAIT = 1e6
"""Seconds that any system call can wait: poll(2) counts milliseconds in an int."""


def connect(address: Address, timeout: float | None) -> socket.socket:
    """A connected blocking socket. Raises ConnectError within ``timeout`` seconds, all addresses
    of a name together; only how long looking it up takes is up to the resolver (resolv.conf(5))."""
    return _connect(address, timeout)


def start_connect(address: Address, source: Any = None) -> socket.socket:
    """A non-blocking socket whose connect is under way or, as for Unix sockets, done.

    ``source`` is a socket address of this machine to connect from, of port 0. Raises ConnectError
    where the kernel refuses at once.
    """
    return _connect(address, 0, source)


def bind_source(sock: socket.socket, source: Any) -> None:
    """Let ``sock`` connect from ``source``. Its port is found by connect(2), which may take one
    that is in use for another destination: bind(2) may not (ip(7), IP_BIND_ADDRESS_NO_PORT)."""
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)  # IPv6 too
    sock.bind(source)


def connect_error(address: Address, error: OSError | UnicodeError) -> ConnectError:
    """The error that says why there is no connection to ``address``."""
    return ConnectError(f"cannot connect to {address}: {advice(error)}")


def check_connectable(address: Address) -> None:
    """Raises AddressError for an address that is for servers only."""
    if address.fd is not None:
        raise AddressError(
            f"cannot connect to {address}: a descriptor is for a server to listen on"
        )


def _connect(address: Address, timeout: float | None, source: Any = None) -> socket.socket:
    """Connect to the first that can be: localhost may be ::1 too, where nobody listens."""
    check_connectable(address)
    start = time.monotonic()
    try:
        *others, last = found = resolve(address)
        for tried, other in enumerate(others):
            try:
                return _connected(*other, _share(timeout, start, len(found) - tried), source)
            except OSError:
                pass
        return _connected(*last, _share(timeout, start, 1), source)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could know
        raise connect_error(address, error) from error


def _share(timeout: float | None, start: float, count: int) -> float | None:
    """What one of ``count`` addresses may take of the time left, as Go's net.Dialer has it: one
    that does not answer leaves time for the next. None is for ever, 0 does not wait."""
    if not timeout:
        return timeout
    return min(max(start + timeout - time.monotonic(), 0.001) / count, LONGEST_WAIT)


def _connected(family: int, sockaddr: Any, timeout: float | None, source: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        no_delay(sock)
        if source is not None:
            bind_source(sock, source)
        sock.connect(sockaddr)
    except BlockingIOError as error:
        if error.errno != errno.EINPROGRESS:  # EAGAIN: a Unix socket's accept queue is full
            sock.close()
            raise
    except BaseException:
        sock.close()
        raise
    return sock
