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

_SHORTEST_WAIT = 0.001  # seconds; 0 would not wait at all


def connect(address: Address, timeout: float | None) -> socket.socket:
    """A connected blocking socket. Raises ConnectError.

    ``timeout``, in seconds, covers all addresses of a name together, but not its lookup: that
    time is set in resolv.conf(5).
    """
    return _connect(address, timeout)


def start_connect(address: Address, source: Any = None) -> socket.socket:
    """A non-blocking socket whose connect is in progress; a Unix socket is connected already.

    ``source`` is a local socket address with port 0 to connect from. Raises ConnectError if the
    kernel refuses at once.
    """
    return _connect(address, 0, source)


def bind_source(sock: socket.socket, source: Any) -> None:
    """Let ``sock`` connect from ``source``. connect(2) chooses the port, because it may reuse one
    that is in use for another destination; bind(2) may not (ip(7), IP_BIND_ADDRESS_NO_PORT)."""
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)  # IPv6 too
    sock.bind(source)


def connect_error(address: Address, error: OSError | UnicodeError) -> ConnectError:
    """The error that says why there is no connection to ``address``."""
    return ConnectError(f"cannot connect to {address}: {advice(error)}")


def check_connectable(address: Address) -> None:
    """Raises AddressError for an address that only a server can use."""
    if address.fd is not None:
        raise AddressError(
            f"cannot connect to {address}: a descriptor is for a server to listen on"
        )


def time_share(seconds: float, addresses: int) -> float:
    """How much of the ``seconds`` left one of ``addresses`` may take, as in Go's net.Dialer: one
    that does not answer leaves time for the next."""
    return min(max(seconds, _SHORTEST_WAIT) / addresses, LONGEST_WAIT)


def _connect(address: Address, timeout: float | None, source: Any = None) -> socket.socket:
    """Try the addresses in order: localhost may also be ::1, with no listener there."""
    check_connectable(address)
    deadline = time.monotonic() + (timeout or 0.0)
    try:
        *others, last = found = resolve(address)
        for tried, other in enumerate(others):
            try:
                seconds = _share_until(deadline, timeout, len(found) - tried)
                return _connected(*other, seconds, source)
            except OSError:
                pass
        return _connected(*last, _share_until(deadline, timeout, 1), source)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a possible DNS name
        raise connect_error(address, error) from error


def _share_until(deadline: float, timeout: float | None, addresses: int) -> float | None:
    """As `time_share`; a ``timeout`` of None waits without limit, 0 does not wait."""
    return time_share(deadline - time.monotonic(), addresses) if timeout else timeout


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
