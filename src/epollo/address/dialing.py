"""Connecting to an address."""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
import sys
import time
from typing import Any

from epollo.address.forms import Address
from epollo.address.listening import PROBES
from epollo.address.resolving import advice, no_delay, resolve
from epollo.errors import AddressError, ConnectError

LONGEST_WAIT = 1e6
"""Seconds that any system call can wait: poll(2) counts milliseconds in an int."""

_LONGEST_KEEPALIVE = 32767  # seconds; the kernel's limit for TCP_KEEPIDLE (MAX_TCP_KEEPIDLE)

_SHORTEST_WAIT = 0.001  # seconds; 0 would not wait at all

SELF_CONNECTS = 3
"""Attempts that may reach this very socket, before the address is given up."""


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


def is_self_connected(sock: socket.socket) -> bool:
    """Are both ends of this connection the same socket?

    If nothing listens on a port of net.ipv4.ip_local_port_range, the kernel may choose that port
    for the local end too. Then TCP connects the socket with itself (simultaneous open, RFC 9293,
    3.5), and it receives what it sends. Go's net.Dialer refuses such a connection too.
    """
    return sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername()


def refused_as_self_connected(sock: socket.socket) -> bool:
    """`is_self_connected`; then ``sock`` is closed. Closes it too before it raises OSError, for
    a peer that has reset the connection already."""
    try:
        found = is_self_connected(sock)
    except BaseException:
        sock.close()
        raise
    if found:
        close_with_reset(sock)
    return found


def self_connect_error() -> OSError:
    """The error to report for a socket that only ever reached itself."""
    return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def close_with_reset(sock: socket.socket) -> None:
    """Close ``sock``, and let the kernel drop what it holds of it (socket(7), SO_LINGER): no bytes
    are kept for a peer that does not take them, and no port waits in TIME_WAIT."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:  # closed already
        pass
    sock.close()


def find_dead_peer(sock: socket.socket, seconds: float) -> None:
    """End the connection if its peer has vanished.

    After ``seconds`` of silence TCP probes the peer, and after as long again without an answer the
    connection fails with ETIMEDOUT. The second limit also holds for sent bytes (TCP_USER_TIMEOUT in
    tcp(7), RFC 5482), which the kernel would otherwise send again for about 15 minutes. 0 is never.
    """
    if sock.family == socket.AF_UNIX or seconds <= 0 or sys.platform != "linux":
        return
    seconds = min(seconds, _LONGEST_KEEPALIVE)
    idle = math.ceil(seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(idle / PROBES))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(2000 * seconds))  # ms


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
                return _connected_elsewhere(*other, seconds, source)
            except OSError:
                pass
        return _connected_elsewhere(*last, _share_until(deadline, timeout, 1), source)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a possible DNS name
        raise connect_error(address, error) from error


def _share_until(deadline: float, timeout: float | None, addresses: int) -> float | None:
    """As `time_share`; a ``timeout`` of None waits without limit, 0 does not wait."""
    return time_share(deadline - time.monotonic(), addresses) if timeout else timeout


def _connected_elsewhere(
    family: int, sockaddr: Any, timeout: float | None, source: Any
) -> socket.socket:
    """As `_connected`; a connection of a socket with itself is refused, and tried again."""
    for _ in range(SELF_CONNECTS):
        sock = _connected(family, sockaddr, timeout, source)
        # With a timeout of 0 it may not be connected yet.
        if timeout == 0 or not refused_as_self_connected(sock):
            return sock
    raise self_connect_error()


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
