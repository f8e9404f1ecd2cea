"""Addresses as text, and as the ``socket`` module returns them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from epollo.address.faults import FORMS, fault_of
from epollo.errors import AddressError

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]/,\s]+)\]|(?P<host>(?!\*:)[^\[\]:/,\s]+)):(?P<port>[0-9]{1,5})"
)
_DESCRIPTOR = re.compile(r"[0-9]{1,9}")
_LONGEST_PATH = 107  # bytes: sun_path in unix(7) without its NUL, final or (abstract name) first


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: ``host`` and ``port``, the ``path`` of a Unix socket, or ``fd``,
    the descriptor of a listening socket.

    A ``path`` that begins with NUL is an abstract name, which has no file (unix(7)).
    """

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int | None = None

    def __str__(self) -> str:
        if self.fd is not None:
            return f"fd://{self.fd}"
        if self.path.startswith("\0"):
            return f"unix:@{self.path[1:]}"
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """The address that ``text`` names: ``HOST:PORT``, ``[IPv6]:PORT``, ``unix:PATH``,
    ``unix:@NAME`` for an abstract name, or ``fd://N``. Raises AddressError for anything else.
    """
    if not isinstance(text, str):
        raise AddressError(f"bad address {text!r}: write it as text, such as '127.0.0.1:8091'")
    if text.startswith("unix:"):
        return _parse_path(text)
    if text.startswith("fd://"):
        return _parse_descriptor(text)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise AddressError(f"bad address {text!r}: {fault_of(text)}")
    return Address(host=match["ipv6"] or match["host"], port=int(match["port"]))


def parse_all(texts: Iterable[str]) -> list[Address]:
    """The addresses to listen on. Raises AddressError, also if one is given twice: each socket
    has one owner. Port 0 is another free port each time."""
    addresses = [parse(text) for text in texts]
    for address in addresses:
        any_port = address.fd is None and not address.path and not address.port
        if addresses.count(address) > 1 and not any_port:
            raise AddressError(f"{address} is given twice; name each address once")
    return addresses


def of(sockaddr: Any) -> Address:
    """The address that the ``socket`` module gives as ``sockaddr`` (getsockname, getpeername)."""
    if isinstance(sockaddr, tuple):
        return Address(host=host_of(sockaddr), port=sockaddr[1])
    return Address(path=os.fsdecode(sockaddr) or "(unnamed)")


def peer_name(sockaddr: Any) -> str:
    """The address of a peer as text. A peer chooses the path of its Unix socket, and the name goes
    into logs: so a character that is not printable is escaped as in a Python string, and the
    backslash too (CWE-117)."""
    name = str(of(sockaddr))
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_escaped, name))


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def host_of(sockaddr: Any) -> str:
    """The host in ``sockaddr``; empty for a Unix socket.

    The kernel shows an IPv4 peer of a dual-stack socket as ``::ffff:a.b.c.d`` (ipv6(7)). Here it is
    a.b.c.d, so that a peer has the same name on every socket. A link-local address includes its
    interface, ``fe80::1%eth0``, and means nothing without it (RFC 4007).
    """
    if not isinstance(sockaddr, tuple):
        return ""
    host: str = sockaddr[0]
    if host.startswith("::ffff:") and "." in host:
        return host.removeprefix("::ffff:")
    if len(sockaddr) == 4 and sockaddr[3]:
        return f"{host}%{_interface(sockaddr[3])}"
    return host


def certificate_name(host: str) -> str:
    """The name that a certificate for ``host`` contains.

    The zone of an IPv6 address means something on this machine only (RFC 4007, 11), and the dot
    that ends an absolute DNS name is not sent (RFC 6066, 3).
    """
    return host.partition("%")[0].removesuffix(".")


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # the interface has been removed
        return str(index)


def _parse_path(text: str) -> Address:
    path = text.removeprefix("unix:")
    if path in ("", "@"):
        raise AddressError(f"bad address {text!r}: no path; {FORMS}")
    if "\0" in path:
        raise AddressError(f"bad address {text!r}: a path has no NUL; write unix:@NAME")
    if len(os.fsencode(path.removeprefix("@"))) > _LONGEST_PATH:
        raise AddressError(f"bad address {text!r}: a Unix socket's path has at most 107 bytes")
    return Address(path="\0" + path[1:] if path.startswith("@") else path)


def _parse_descriptor(text: str) -> Address:
    number = text.removeprefix("fd://")
    if not _DESCRIPTOR.fullmatch(number):
        raise AddressError(
            f"bad address {text!r}: write fd://N with the number of an open descriptor"
        )
    return Address(fd=int(number))
