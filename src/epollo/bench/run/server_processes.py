"""The processes of a server on this machine, found by the socket that they listen on."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from time import thread_time
from typing import TypeAlias

from epollo.address import Address

AnyAddress: TypeAlias = IPv4Address | IPv6Address

_LISTENING = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_LONGEST_SEARCH = 0.1  # seconds of work: a machine may have many processes


def server_processes(server: Address) -> list[int]:
    """The processes that have the socket of ``server`` open. Empty if it is not on this machine,
    belongs to another user, or is not found with 0.1 s of work; and without Linux's /proc."""
    inodes = set(_unix(server.path) if server.path else _tcp(server))
    if sys.platform != "linux" or not inodes:
        return []
    names = {f"socket:[{inode}]" for inode in inodes}
    deadline = thread_time() + _LONGEST_SEARCH
    found = []
    for folder in _processes():
        if thread_time() > deadline:
            return []
        if _has_open(folder, names):
            found.append(int(folder.name))
    return found


def _processes() -> Iterator[Path]:
    """The latest first: a server to be tested was often just started."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return (Path(f"/proc/{number}") for number in sorted(numbers, reverse=True))


def _has_open(process: Path, names: set[str]) -> bool:
    descriptors = f"{process}/fd"
    try:
        numbers = os.listdir(descriptors)  # noqa: PTH208 (there may be very many)
    except OSError:  # it has ended, or is another user's
        return False
    for number in numbers:
        try:
            if os.readlink(f"{descriptors}/{number}") in names:  # noqa: PTH115
                return True
        except OSError:  # closed meanwhile
            pass
    return False


def _tcp(server: Address) -> Iterator[str]:
    """The inodes of sockets that listen at its address and port, or at that port of every address
    if its address is one of this machine. proc_pid_net(5)."""
    try:
        wanted = ip_address(server.host.partition("%")[0])
    except ValueError:
        return
    if not _is_local(server.host):
        return
    for name in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                host, _, port = words[1].partition(":")
                listens = words[3] == _LISTENING and int(port, 16) == server.port
                if listens and _accepts(_address(host), wanted):
                    yield words[9]


def _accepts(bound: AnyAddress, wanted: AnyAddress) -> bool:
    return bound == wanted or bound.is_unspecified


def _is_local(host: str) -> bool:
    """Is it an address of this machine? Then a socket can be bound to it."""
    try:
        family, kind, _, _, name = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as trial:
            trial.bind(name)
    except OSError:
        return False
    return True


def _address(text: str) -> AnyAddress:
    """The address that is written as hexadecimal words in this machine's order of bytes."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    data = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    found = ip_address(data)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _unix(path: str) -> Iterator[str]:
    """The inodes of sockets bound to ``path``."""
    names = {f"@{path[1:]}"} if path.startswith("\0") else {path, str(Path(path).absolute())}
    with suppress(OSError, IndexError):
        for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
            words = line.split(maxsplit=7)
            if len(words) == 8 and words[7] in names:
                yield words[6]
