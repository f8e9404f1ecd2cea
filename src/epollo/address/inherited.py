"""Listening sockets that another process made: a parent, or systemd."""

from __future__ import annotations

import os
import socket
import stat

from epollo.address.forms import Address
from epollo.errors import BindError

FIRST = 3  # SD_LISTEN_FDS_START: those before it are stdin, stdout and stderr
_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a pipe",
}


def inherit(fd: int) -> socket.socket:
    """The listening socket of descriptor ``fd``, which closes it; children do not get it.

    Raises BindError, and leaves ``fd`` as it is, where it is none.
    """
    what = _what_is(fd)
    if what:
        raise BindError(f"cannot listen on fd://{fd}: {what}; pass a listening stream socket")
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def activated() -> list[Address]:
    """The descriptors that systemd has passed to this very process; none, where it has not.

    As sd_listen_fds(3) does, it takes the variables that tell of them out of the environment, and
    keeps the descriptors, from children: those would take them for theirs. Raises BindError.
    """
    pid, _, count, _ = [os.environ.pop(name, "") for name in _VARIABLES]
    if pid != str(os.getpid()) or not count:
        return []
    if not (count.isascii() and count.isdigit()):
        raise BindError(f"LISTEN_FDS is {count!r}: not a number of descriptors")
    return [_kept(fd) for fd in range(FIRST, FIRST + int(count))]


def _kept(fd: int) -> Address:
    try:
        os.set_inheritable(fd, False)
    except OSError:
        raise BindError(f"LISTEN_FDS tells of descriptor {fd}, which is not open") from None
    return Address(fd=fd)


def _what_is(fd: int) -> str:
    """What ``fd`` is instead of a listening stream socket; empty where it is one."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return "no such descriptor is open"
    if not stat.S_ISSOCK(mode):
        return f"it is {_KINDS.get(stat.S_IFMT(mode), 'no socket')}"
    sock = socket.socket(fileno=fd)
    try:
        return _what_socket_is(sock)
    finally:
        sock.detach()


def _what_socket_is(sock: socket.socket) -> str:
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "it is no TCP or Unix socket"
    if sock.type != socket.SOCK_STREAM:
        kind = "a datagram" if sock.type == socket.SOCK_DGRAM else "no stream"
        return f"it is {kind} socket"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it is a stream socket that does not listen"
    return ""
