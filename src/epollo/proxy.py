"""The PROXY protocol, versions 1 and 2: whom a proxy in front of the server speaks for.

By HAProxy's docs/proxy-protocol.txt. Only a proxy can be let in to a port that takes it: anyone
else could say to be whom he likes.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import ClassVar

from epollo import address
from epollo.address import Address
from epollo.errors import ProxyError

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107  # of version 1, with its CRLF
HEAD = struct.Struct("!12sBBH")  # of version 2: signature, version and command, family, length

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_CRC32C = 0x03  # a TLV's type


class Proxy:
    """The header at the beginning of a stream, as a filter that is over with it.

    Where it is not ``required``, a stream that begins otherwise passes as it is.
    """

    fault: ClassVar[type[ProxyError]] = ProxyError
    passive = True
    calling = False
    ended = False
    tls = None

    def __init__(self, timeout: float, required: bool = True) -> None:
        self.timeout = timeout
        self.established = False
        self.peername: str | None = None
        self._required = required
        self._held = b""

    def received(self, data: bytes) -> bytes:
        held = self._held = self._held + data
        if begins(held, V1):
            size = self._line(held)
        elif begins(held, V2):
            size = self._binary(held)
        elif self._required:
            raise ProxyError("the stream begins with no PROXY header")
        else:
            self.established = True
            size = 0
        if not self.established:
            return b""
        self._held = b""
        return held[size:]

    def send(self, data: bytes) -> bytes:
        return data

    def pending(self) -> bytes:
        return b""

    def eof(self) -> None:
        raise ProxyError("the stream ended inside the PROXY header")

    def close(self) -> bytes:
        return b""

    def _line(self, held: bytes) -> int:
        end = held.find(b"\r\n", 0, LONGEST_LINE)
        if end >= 0:
            self.peername = parse_line(held[:end])
            self.established = True
        elif len(held) >= LONGEST_LINE:
            raise ProxyError(f"a PROXY line of over {LONGEST_LINE} bytes")
        return end + 2

    def _binary(self, held: bytes) -> int:
        if len(held) < HEAD.size:
            return 0
        _, version_command, family, length = HEAD.unpack_from(held)
        if version_command not in (0x20, 0x21):
            raise ProxyError(f"PROXY version and command {version_command:#04x} are none")
        size = HEAD.size + int(length)
        if len(held) >= size:
            self.established = True
            header = held[:size]
            local = version_command == 0x20
            self.peername = None if local else parse_binary(header, family)
        return size


class Introduction:
    """The other side of `Proxy`: a ``header`` to be sent first, as a filter that is over with it.

    What `header` makes for the two addresses of a connection introduces it as what it is.
    """

    fault: ClassVar[type[ProxyError]] = ProxyError
    passive = True
    calling = False
    ended = False
    established = True
    peername = None
    tls = None
    timeout = 0.0

    def __init__(self, header: bytes) -> None:
        self._unsaid = header

    def received(self, data: bytes) -> bytes:
        return data

    def send(self, data: bytes) -> bytes:
        return data

    def pending(self) -> bytes:
        words, self._unsaid = self._unsaid, b""
        return words

    def eof(self) -> None:
        pass

    def close(self) -> bytes:
        return b""


def header(version: str, source: Address, destination: Address) -> bytes:
    """What a proxy says first, in ``version`` "v1" or "v2", for a connection between these two.

    Of a Unix socket nothing is told, UNKNOWN or LOCAL: it is what it is. Version 2 could name its
    paths, but HAProxy 2.6 closes a connection with any other family than those of IP.
    """
    return (_line_of if version == "v1" else _binary_of)(source, destination)


def _line_of(source: Address, destination: Address) -> bytes:
    if source.path:
        return V1 + b"UNKNOWN\r\n"
    kind = "TCP6" if ":" in source.host else "TCP4"
    hosts = f"{_unscoped(source.host)} {_unscoped(destination.host)}"
    return V1 + f"{kind} {hosts} {source.port} {destination.port}\r\n".encode()


def _binary_of(source: Address, destination: Address) -> bytes:
    if source.path:
        return HEAD.pack(V2, 0x20, 0x00, 0)
    family, kind = (0x21, socket.AF_INET6) if ":" in source.host else (0x11, socket.AF_INET)
    hosts = [socket.inet_pton(kind, _unscoped(each.host)) for each in (source, destination)]
    addresses = b"".join(hosts) + struct.pack("!HH", source.port, destination.port)
    return HEAD.pack(V2, 0x21, family, len(addresses)) + addresses


def _unscoped(host: str) -> str:
    """``host`` without the interface of a link-local address, which means nothing elsewhere."""
    return host.partition("%")[0]


def begins(held: bytes, signature: bytes) -> bool:
    """Is ``held`` the beginning of a stream that begins so, as far as can be told?"""
    return held.startswith(signature) or signature.startswith(held)


def parse_line(line: bytes) -> str | None:
    """The peer's address in a header of version 1, without its CRLF; None for UNKNOWN."""
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    families = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
    if len(words) != 6 or words[1] not in families:
        raise ProxyError(f"a PROXY line that is none: {line!r}")
    family = families[words[1]]
    hosts = [_host(family, word) for word in words[2:4]]
    ports = [_port(word) for word in words[4:6]]
    return str(address.of((hosts[0], ports[0])))


def parse_binary(header: bytes, family: int) -> str | None:
    """The peer's address in a header of version 2; None for a family that has none."""
    sizes = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
    if family not in sizes:
        raise ProxyError(f"PROXY address family {family:#04x} is none")
    start, stop = HEAD.size, HEAD.size + sizes[family]
    if len(header) < stop:
        raise ProxyError("a PROXY header that is too short for its addresses")
    if not family:
        return None
    _check_fields(header, stop)
    addresses = header[start:stop]
    if family >> 4 == 3:
        path = addresses[:108].partition(b"\0")[0]
        return str(address.of(path))
    size = 4 if family >> 4 == 1 else 16
    kind = socket.AF_INET if size == 4 else socket.AF_INET6
    port = int.from_bytes(addresses[2 * size : 2 * size + 2], "big")
    return str(address.of((socket.inet_ntop(kind, addresses[:size]), port)))


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_OF_BYTE[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]  # a header may have 64 KiB


def _check_fields(header: bytes, start: int) -> None:
    """Step over the TLVs; a checksum among them has to be right."""
    while start < len(header):
        value = start + 3
        stop = value + int.from_bytes(header[start + 1 : value], "big")
        if value > len(header) or stop > len(header):
            raise ProxyError("a PROXY header with a field that is cut")
        if header[start] == _CRC32C:
            blank = header[:value] + bytes(stop - value) + header[stop:]
            if int.from_bytes(header[value:stop], "big") != crc32c(blank):
                raise ProxyError("a PROXY header whose checksum is wrong")
        start = stop


def _host(family: socket.AddressFamily, word: bytes) -> str:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, word.decode("ascii")))
    except (OSError, ValueError):
        raise ProxyError(f"{word!r} in a PROXY line is no address") from None


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 65535:
        raise ProxyError(f"{word!r} in a PROXY line is no port")
    return int(word)
