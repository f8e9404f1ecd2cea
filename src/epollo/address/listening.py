"""Listening on an address."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from epollo.address.forms import Address, of
from epollo.address.inherited import inherit
from epollo.address.resolving import advice, no_delay, resolve
from epollo.address.socket_files import SocketFile, bind
from epollo.errors import BindError

PROBES = 3  # TCP keepalive probes, spread over the keepalive time once more (as in Redis, anet.c)
_LONGEST_USER_TIMEOUT = (1 << 31) - 1  # milliseconds: an int, 24 days


class Bound(NamedTuple):
    """A listening socket, and the file of a Unix socket that has a path."""

    socket: socket.socket
    file: SocketFile | None


@dataclass(frozen=True, slots=True)
class Options:
    """How to listen.

    ``backlog`` is the length of the accept queue; the kernel limits it to net.core.somaxconn
    (listen(2)). After ``keepalive`` seconds of silence TCP probes a peer; 0 is never. A peer whose
    kernel takes nothing for ``write_timeout`` seconds is gone; 0 is never. ``mode`` sets the
    permissions of a Unix socket's file; by default the umask does. With ``grouped``, others may
    `listen_beside` a TCP socket.
    """

    backlog: int
    keepalive: float = 0
    write_timeout: float = 0
    mode: int | None = None
    grouped: bool = False


def listen_beside(first: socket.socket, options: Options) -> socket.socket:
    """A further socket on the TCP address of ``first``, which is ``grouped``: the kernel spreads
    new connections over both (SO_REUSEPORT, socket(7)). Raises OSError."""
    sock = socket.socket(first.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if first.family == socket.AF_INET6:
            only_v6 = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        sock.bind(first.getsockname())
        _start_listening(sock, options)
    except BaseException:
        sock.close()
        raise
    return sock


def adopt(
    sock: socket.socket, options: Options, file: SocketFile | None = None, *, relisten: bool = True
) -> None:
    """Apply ``options`` to ``sock``, which listens already with other ones, and to its ``file``;
    the length of the accept queue only with ``relisten``. Raises OSError."""
    _set_for_accepted(sock, options)
    if relisten:
        sock.listen(options.backlog)
    sock.setblocking(False)
    if file is not None and options.mode is not None:
        Path(file.path).chmod(options.mode)


def listen(
    address: Address,
    backlog: int,
    *,
    keepalive: float = 0,
    mode: int | None = None,
    others: Iterable[Address] = (),
) -> socket.socket:
    """A non-blocking socket that listens on the first address of ``address``; see `Options`. Raises
    BindError."""
    options = Options(backlog, keepalive, mode=mode)
    return listen_all(address, options, others, most=1)[0].socket


def listen_all(
    address: Address,
    options: Options,
    others: Iterable[Address] = (),
    failed: Callable[[str], object] = lambda _: None,
    *,
    most: int | None = None,
    existing: Callable[[Any], Bound | None] = lambda _: None,
) -> list[Bound]:
    """A non-blocking listening socket for each of the addresses that a name has, or for ``most``.

    If at least one can be listened on, the others are only told to ``failed`` (sshd does so): a
    name may have addresses that this machine lacks. ``others`` are the other addresses to listen
    on: an IPv6 socket does not take an IPv4 port that is among them. ``existing`` returns the
    socket that this process has already for a socket address. Raises BindError that names the
    address and the cause.
    """
    if address.fd is not None:
        return [Bound(_inherited(address.fd, options), None)]
    try:
        found = list(dict.fromkeys(resolve(address)))[:most]
    except (OSError, UnicodeError) as error:  # UnicodeError: not a possible DNS name
        raise _bind_error(address, error) from error
    only_v6 = _shares_port(address, others) or any(kind == socket.AF_INET for kind, _ in found)
    bound, errors = [], []
    for family, sockaddr in found:
        try:
            have = existing(sockaddr)
            bound.append(have or _listening(family, sockaddr, options, only_v6))
        except OSError as error:
            errors.append((address if len(found) == 1 else of(sockaddr), error))
    if not bound:
        raise _bind_error(*errors[0]) from errors[0][1]
    for left_out, cause in errors:
        failed(f"not listening on {left_out}, an address of {address.host}: {advice(cause)}")
    return bound


def _bind_error(address: Address, error: OSError | UnicodeError) -> BindError:
    return BindError(f"cannot listen on {address}: {advice(error)}")


def _inherited(fd: int, options: Options) -> socket.socket:
    sock = inherit(fd)
    sock.setblocking(False)
    _set_for_accepted(sock, options)
    return sock


def _listening(family: int, sockaddr: Any, options: Options, only_v6: bool) -> Bound:
    sock, file = socket.socket(family, socket.SOCK_STREAM), None
    try:
        if family != socket.AF_UNIX:
            # Lets a restarted server bind while old connections are in TIME_WAIT (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Set explicitly: the default depends on the machine (net.ipv6.bindv6only).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        if family == socket.AF_UNIX and not sockaddr.startswith("\0"):
            file = bind(sock, sockaddr, options.mode)
        else:
            sock.bind(sockaddr)
        _start_listening(sock, options)
    except BaseException:
        sock.close()
        raise
    return Bound(sock, file)


def _start_listening(sock: socket.socket, options: Options) -> None:
    """Listen on ``sock``, which is bound."""
    _set_for_accepted(sock, options)
    if options.grouped and sock.family != socket.AF_UNIX:
        # Only now: bound without it, the first socket is refused if another program listens there,
        # and so is another program later. Before listen(2), which makes the group.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.listen(options.backlog)
    sock.setblocking(False)


def _set_for_accepted(listener: socket.socket, options: Options) -> None:
    """Options that accepted sockets inherit (tcp(7)), which saves system calls on each."""
    no_delay(listener)
    if listener.family == socket.AF_UNIX:
        return
    keepalive = options.keepalive
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive > 0)
    if keepalive > 0 and hasattr(socket, "TCP_KEEPIDLE"):  # else the system's defaults
        seconds = math.ceil(keepalive)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, math.ceil(seconds / PROBES))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = _user_timeout(keepalive, options.write_timeout)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _user_timeout(keepalive: float, write_timeout: float) -> int:
    """Milliseconds for TCP_USER_TIMEOUT (tcp(7), RFC 5482); 0 is the system's default.

    TCP does not probe a peer while a byte to it is unacknowledged, but retransmits that for a
    quarter of an hour. This option limits that, but also the time for which a living peer may take
    nothing. So it is no shorter than ``write_timeout``, and not set if that is 0. Nor is it shorter
    than all probes take, since it replaces their number.
    """
    if not write_timeout:
        return 0
    seconds = max(write_timeout, 2 * math.ceil(keepalive))
    return min(math.ceil(seconds * 1000), _LONGEST_USER_TIMEOUT)


def _shares_port(address: Address, others: Iterable[Address]) -> bool:
    """Do ``others`` have an IPv4 address with the same port? ``[::]`` would take that one too."""
    return address.port > 0 and any(
        other.port == address.port and ":" not in other.host for other in others
    )
