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

PROBES = 3  # of a silent peer, spread over its idle time once more, as Redis has it (anet.c)


def listen(
    address: Address,
    backlog: int,
    *,
    keepalive: float = 0,
    mode: int | None = None,
    beside: Iterable[Address] = (),
) -> socket.socket:
    """A non-blocking listening socket. Raises BindError that names the address and the cause.

    The kernel cuts ``backlog``, the length of the accept queue, at net.core.somaxconn (listen(2)).
    After ``keepalive`` seconds without a byte, peers are asked whether they are there; 0 is never.
    ``mode`` is the permissions of a Unix socket's file, else what the umask leaves. ``beside``
    are the other addresses to be listened on, for which an IPv6 one leaves room.
    """
    if address.fd is not None:
        return _taken_over(address.fd, keepalive)
    try:
        return _listening(address, backlog, keepalive, mode, _shares_port(address, beside))
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could know
        raise BindError(f"cannot listen on {address}: {advice(error)}") from error


def remove(address: Address) -> None:
    """Remove the file that `listen` made, where it made one."""
    if _has_file(address):
        Path(address.path).unlink(missing_ok=True)


def _taken_over(fd: int, keepalive: float) -> socket.socket:
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
            # Lets a restarted server bind while old connections linger in TIME_WAIT (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Said, for the default is the machine's own (net.ipv6.bindv6only).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind(sockaddr)
        if mode is not None and _has_file(address):
            # Nobody comes in by the mode that it was born with: connect(2) is refused until it
            # listens. The umask would do too, but it is the whole process's, whose other threads
            # may be making files of their own.
            Path(address.path).chmod(mode)
        _set_for_accepted(sock, keepalive)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_for_accepted(listener: socket.socket, keepalive: float) -> None:
    """Options that accepted sockets inherit (tcp(7)): no system call for each of them."""
    no_delay(listener)
    if listener.family == socket.AF_UNIX:
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive > 0)
    if keepalive > 0 and hasattr(socket, "TCP_KEEPIDLE"):  # else the system's own times
        seconds = math.ceil(keepalive)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(seconds / PROBES))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def _shares_port(address: Address, beside: Iterable[Address]) -> bool:
    """Is an IPv4 address of the same port asked for too? ``[::]`` would take that one as well."""
    return address.port > 0 and any(
        other.port == address.port and ":" not in other.host for other in beside
    )


def _has_file(address: Address) -> bool:
    return address.path != "" and not address.path.startswith("\0")


def _remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more, left behind by a killed server."""
    if not Path(path).is_socket():
        if Path(path).exists():
            raise FileExistsError(errno.EEXIST, "a file that is no socket has this path")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            pass
