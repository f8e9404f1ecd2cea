"""Listening sockets made by another process: a parent, or systemd."""

from __future__ import annotations

import os
import socket
import stat

from epollo.address.forms import Address
from epollo.errors import BindError

FIRST = 3  # SD_LISTEN_FDS_START: after stdin, stdout and stderr
_VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a pipe",
}


def inherit(fd: int) -> socket.socket:
    """The listening socket of descriptor ``fd``, which now owns it; child processes do not inherit
    it.

    Raises BindError if ``fd`` is not a listening stream socket; then it is left as it was.
    """
    fault = _fault_of(fd)
    if fault:
        raise BindError(f"cannot listen on fd://{fd}: {fault}; pass a listening stream socket")
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def activated() -> list[Address]:
    """The descriptors that systemd has passed to this process; empty if there are none.

    Like sd_listen_fds(3), it removes the variables from the environment and makes the descriptors
    non-inheritable, since child processes would take them as their own. Raises BindError.
    """
    pid, _, count, _ = [os.environ.pop(name, "") for name in _VARIABLES]
    if pid != str(os.getpid()) or not count:
        return []
    if not (count.isascii() and count.isdigit()):
        raise BindError(f"LISTEN_FDS is {count!r}, not a number of descriptors")
    return [_address(fd) for fd in range(FIRST, FIRST + int(count))]


def _address(fd: int) -> Address:
    try:
        os.set_inheritable(fd, False)
    except OSError:
        raise BindError(f"LISTEN_FDS includes descriptor {fd}, which is not open") from None
    return Address(fd=fd)


def _fault_of(fd: int) -> str:
    """Why ``fd`` is not a listening stream socket; empty if it is one."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return "no such descriptor is open"
    if not stat.S_ISSOCK(mode):
        return f"it is {_KINDS.get(stat.S_IFMT(mode), 'not a socket')}"
    sock = socket.socket(fileno=fd)
    try:
        return _fault_of_socket(sock)
    finally:
        sock.detach()


def _fault_of_socket(sock: socket.socket) -> str:
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "it is not a TCP or Unix socket"
    if sock.type != socket.SOCK_STREAM:
        kind = "a datagram" if sock.type == socket.SOCK_DGRAM else "not a stream"
        return f"it is {kind} socket"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it is a stream socket that does not listen"
    return ""
