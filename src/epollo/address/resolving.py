"""Looking up an address, and explaining why that or the kernel's call failed."""

from __future__ import annotations

import socket
from typing import Any

from epollo.address.forms import Address
from epollo.causes import cause_of

_ADVICE = {
    "a file with this path is not a socket": "; remove it, or choose another path",
    "address already in use": "; stop the process that listens there, or take another port",
    "cannot assign requested address": "; this machine has no such address",
    "connection refused": "; nothing listens there",
    "name or service not known": "; is the host name right?",
    "no such file or directory": "; there is no such socket, or no such directory",
    "permission denied": "; a port below 1024 needs root, a socket's directory must be yours",
    "timed out": "; nothing answers there",
}


def resolve(address: Address, flags: int = 0) -> list[tuple[int, Any]]:
    """The families and socket addresses of ``address``, the preferred one first; ``flags`` are
    those of getaddrinfo(3)."""
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, sockaddr) for family, _, _, _, sockaddr in infos]


def advice(error: OSError | UnicodeError) -> str:
    """The kernel's text for the cause, and the fix if it is known."""
    cause = cause_of(error)
    return cause + _ADVICE.get(cause, "")


def no_delay(sock: socket.socket) -> None:
    """Send small messages at once: Nagle's algorithm would hold a reply until the peer's ACK."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
