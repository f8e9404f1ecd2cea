"""What the kernel and DNS say to an address: the socket address it stands for, and why not."""

from __future__ import annotations

import socket
from typing import Any

from epollo.address.forms import Address

_ADVICE = {
    "address already in use": "; stop what listens there or take another port",
    "cannot assign requested address": "; this machine has no such address",
    "connection refused": "; nothing listens there",
    "no such file or directory": "; there is no such socket, or no such directory",
    "permission denied": "; a port below 1024 needs root, a socket's directory must be yours",
    "timed out": "; nothing answers there",
}


def resolve(address: Address) -> list[tuple[int, Any]]:
    """The families and socket addresses that ``address`` stands for, the preferred one first."""
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in infos]


def advice(error: OSError | UnicodeError) -> str:
    """The cause in the kernel's words, and the fix where it is known."""
    cause = (getattr(error, "strerror", None) or str(error)).lower()
    return cause + _ADVICE.get(cause, "")


def no_delay(sock: socket.socket) -> None:
    """Send small messages at once: Nagle's algorithm would hold a reply for the peer's ACK."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
