"""Addresses as people write them: ``HOST:PORT``, ``[::1]:PORT``, ``unix:PATH``."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epollo.errors import AddressError, BindError, ConnectFailed

_PORT = re.compile(r"[0-9]{1,5}")

FORMS = "write HOST:PORT, [IPv6]:PORT or unix:PATH"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: ``host`` and ``port``, or the ``path`` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """The address that ``text`` names. Raises AddressError for anything else."""
    if text.startswith("unix:"):
        return _parse_path(text)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f"bad address {text!r}: no port; {FORMS}")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise AddressError(f"bad address {text!r}: port {port!r} is not 0 to 65535; {FORMS}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"bad address {text!r}: put an IPv6 host in brackets; {FORMS}")
    if not host:
        raise AddressError(f"bad address {text!r}: no host; write 0.0.0.0:{port} for all of IPv4")
    return Address(host=host, port=int(port))


def of(sockaddr: Any) -> Address:
    """The address in the form that the ``socket`` module gives (getsockname, getpeername)."""
    if isinstance(sockaddr, tuple):
        return Address(host=sockaddr[0], port=sockaddr[1])
    return Address(path=os.fsdecode(sockaddr) or "(unnamed)")


def listen(address: Address, backlog: int) -> socket.socket:
    """A non-blocking listening socket. Raises BindError that names the address and the cause.

    The kernel cuts ``backlog``, the length of the accept queue, at net.core.somaxconn (listen(2)).
    """
    try:
        family, sockaddr = _resolve(address)[0]
        if address.path:
            _remove_stale(address.path)
        return _listening(family, sockaddr, backlog)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that DNS could know
        raise BindError(f"cannot listen on {address}: {_advice(error)}") from error


def connect(address: Address, timeout: float | None) -> socket.socket:
    """A connected blocking socket. Raises ConnectFailed within ``timeout`` seconds, all addresses
    of a name together; only how long looking it up takes is up to the resolver (resolv.conf(5))."""
    return _connect(address, timeout)


def start_connect(address: Address) -> socket.socket:
    """A non-blocking socket whose connect is under way or, as for Unix sockets, done.

    Raises ConnectFailed where the kernel refuses at once.
    """
    return _connect(address, 0)


def connect_failed(address: Address, error: OSError | UnicodeError) -> ConnectFailed:
    """The error that says why there is no connection to ``address``."""
    return ConnectFailed(f"cannot connect to {address}: {_advice(error)}")


def remove_socket(listener: socket.socket) -> None:
    """Remove the file of a Unix socket that is about to be closed; others have none."""
    if listener.family == socket.AF_UNIX:
        Path(listener.getsockname()).unlink(missing_ok=True)


def no_delay(sock: socket.socket) -> None:
    """Send small messages at once: Nagle's algorithm would hold a reply for the peer's ACK."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _parse_path(text: str) -> Address:
    path = text.removeprefix("unix:")
    if not path:
        raise AddressError(f"bad address {text!r}: no path; {FORMS}")
    if len(os.fsencode(path)) > 107:  # sun_path in unix(7), less its final NUL
        raise AddressError(f"bad address {text!r}: a Unix socket's path has at most 107 bytes")
    return Address(path=path)


def _resolve(address: Address) -> list[tuple[int, Any]]:
    """The families and socket addresses that ``address`` stands for, the preferred one first."""
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in infos]


def _connect(address: Address, timeout: float | None) -> socket.socket:
    """Connect to the first that can be: localhost may be ::1 too, where nobody listens."""
    start = time.monotonic()
    try:
        *others, last = found = _resolve(address)
        for tried, other in enumerate(others):
            try:
                return _connected(*other, _share(timeout, start, len(found) - tried))
            except OSError:
                pass
        return _connected(*last, _share(timeout, start, 1))
    except (OSError, UnicodeError) as error:
        raise connect_failed(address, error) from error


def _share(timeout: float | None, start: float, count: int) -> float | None:
    """What one of ``count`` addresses may take of the time left, as Go's net.Dialer has it: one
    that does not answer leaves time for the next. None is for ever, 0 does not wait."""
    if not timeout:
        return timeout
    return max(start + timeout - time.monotonic(), 0.001) / count


def _connected(family: int, sockaddr: Any, timeout: float | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        no_delay(sock)
        sock.connect(sockaddr)
    except BlockingIOError as error:
        if error.errno != errno.EINPROGRESS:  # EAGAIN: a Unix socket's accept queue is full
            sock.close()
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _listening(family: int, sockaddr: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            # Lets a restarted server bind while old connections linger in TIME_WAIT (socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            no_delay(sock)  # and those it accepts, which inherit it (tcp(7))
        sock.bind(sockaddr)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more, left behind by a killed server."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            pass


def _advice(error: OSError | UnicodeError) -> str:
    cause = (getattr(error, "strerror", None) or str(error)).lower()
    advice = {
        "address already in use": "; stop what listens there or take another port",
        "cannot assign requested address": "; this machine has no such address",
        "connection refused": "; nothing listens there",
        "no such file or directory": "; there is no such socket, or no such directory",
        "permission denied": "; a port below 1024 needs root, a socket's directory must be yours",
        "timed out": "; nothing answers there",
    }
    return cause + advice.get(cause, "")
