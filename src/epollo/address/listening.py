"""Listening on an address."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Iterable
from pathlib import Path

from epollo.address.forms import Address
from epollo.address.inherited import inherit
from epollo.address.resolving import advice, no_delay, resolve
from epollo.errors import BindError

PROBES = 3  # TCP keepalive probes, spread over the keepalive time once more (as in Redis, anet.c)


def listen(
    address: Address,
    backlog: int,
    *,
    keepalive: float = 0,
    mode: int | None = None,
    others: Iterable[Address] = (),
) -> socket.socket:
    """A non-blocking listening socket. Raises BindError that names the address and the cause.

    ``backlog`` is the length of the accept queue; the kernel limits it to net.core.somaxconn
    (listen(2)). After ``keepalive`` seconds of silence TCP probes a peer; 0 is never. ``mode`` sets
    the permissions of a Unix socket's file; by default the umask does. ``others`` are the other
    addresses to listen on: an IPv6 socket does not take an IPv4 port that is among them.
    """
    if address.fd is not None:
        return _inherited(address.fd, keepalive)
    try:
        return _listening(address, backlog, keepalive, mode, _shares_port(address, others))
    except (OSError, UnicodeError) as error:  # UnicodeError: not a possible DNS name
        raise BindError(f"cannot listen on {address}: {advice(error)}") from error


def remove(address: Address) -> None:
    """Remove the Unix socket's file, if `listen` made one."""
    if _has_file(address):
        Path(address.path).unlink(missing_ok=True)


def _inherited(fd: int, keepalive: float) -> socket.socket:
    sock = inherit(fd)
    sock.setblocking(False)
    _set_for_accepted(sock, keepalive)
    return sock


def _listening(
    address: Address, backlog: int, keepalive: float, mode: int | None, only_v6: bool
) -> socket.socket:
    family, sockaddr = resolve(address)[0]
    if _has_file(address):
        _remove_stale(address.path)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            # Lets a restarted server bind while old connections are in TIME_WAIT (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Set explicitly: the default depends on the machine (net.ipv6.bindv6only).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind(sockaddr)
        if mode is not None and _has_file(address):
            # Safe after bind: connect(2) is refused until the socket listens. A umask would affect
            # files that other threads create meanwhile.
            Path(address.path).chmod(mode)
        _set_for_accepted(sock, keepalive)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_for_accepted(listener: socket.socket, keepalive: float) -> None:
    """Options that accepted sockets inherit (tcp(7)), which saves system calls on each."""
    no_delay(listener)
    if listener.family == socket.AF_UNIX:
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive > 0)
    if keepalive > 0 and hasattr(socket, "TCP_KEEPIDLE"):  # else the system's defaults
        seconds = math.ceil(keepalive)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(seconds / PROBES))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def _shares_port(address: Address, others: Iterable[Address]) -> bool:
    """Do ``others`` have an IPv4 address with the same port? ``[::]`` would take that one too."""
    return address.port > 0 and any(
        other.port == address.port and ":" not in other.host for other in others
    )


def _has_file(address: Address) -> bool:
    return address.path != "" and not address.path.startswith("\0")


def _remove_stale(path: str) -> None:
    """Remove the Unix socket of a killed server: nothing listens on it any more."""
    if not Path(path).is_socket():
        if Path(path).exists():
            raise FileExistsError(errno.EEXIST, "a file with this path is not a socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            pass
