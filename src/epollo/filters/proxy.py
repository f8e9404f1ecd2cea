"""The PROXY protocol, versions 1 and 2: the client's address, sent by a proxy before its data.

See HAProxy's doc/proxy-protocol.txt. Only proxies may reach a port that accepts this header: any
other client could claim any address.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from functools import cache
from typing import ClassVar

from epollo import address
from epollo.address import Address
from epollo.errors import ProxyError

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE = 107  # of version 1, with its CRLF
HEAD = struct.Struct("!12sBBH")  # of version 2: signature, version and command, family, length

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 with its command
_FIELD = struct.Struct("!BH")  # of a TLV: type and length
_CRC32C = 0x03  # a TLV's type


class Proxy:
    """Reads the header at the beginning of a stream.

    If it is not ``required``, a stream without one passes unchanged.
    """

    fault: ClassVar[type[ProxyError]] = ProxyError
    handshake_only = True
    speaks_first = False
    ended = False
    partial = False  # an established one has nothing held
    output: ClassVar[ssl.MemoryBIO] = ssl.MemoryBIO()  # always empty
    tls = None

    def __init__(self, timeout: float, required: bool = True) -> None:
        self.timeout = timeout
        self.established: bool = False
        self.peername: str | None = None
        self._required = required
        self._held = bytearray()  # the bytes of the header so far
        self._size = 0  # of the header; 0 until it is known

    def received(self, data: bytes) -> bytes:
        held = self._held
        held += data
        self._size = self._size or self._find_size(held)
        if not self._complete(held):
            return b""
        if self._size:
            self._parse(bytes(held[: self._size]))
        self.established = True
        remainder = bytes(held[self._size :])
        self._held = bytearray()
        return remainder

    def send(self, data: bytes) -> bytes:
        return data

    def eof(self) -> None:
        raise ProxyError("the stream ended inside the PROXY header")

    def close(self) -> bytes:
        return b""

    def _find_size(self, held: bytearray) -> int:
        """The size of the header; 0 if it is not known yet, or there is no header."""
        if begins(held, V1):
            end = held.find(b"\r\n", 0, LONGEST_LINE)
            if end < 0 and len(held) >= LONGEST_LINE:
                raise ProxyError(f"a PROXY line of over {LONGEST_LINE} bytes")
            return end + 2 if end >= 0 else 0
        if begins(held, V2):
            return _binary_size(held) if len(held) >= HEAD.size else 0
        if self._required:
            raise ProxyError("the stream does not begin with a PROXY header")
        return 0

    def _complete(self, held: bytearray) -> bool:
        """Is the header complete, or is it certain that there is none?"""
        if self._size:
            return len(held) >= self._size
        return not begins(held, V1) and not begins(held, V2)

    def _parse(self, header: bytes) -> None:
        if header.startswith(V1):
            self.peername = parse_line(header[:-2])
            return
        _, version_command, family, _ = HEAD.unpack_from(header)
        if version_command != _LOCAL:
            self.peername = parse_binary(header, family)


class ProxyHeaderSender:
    """Sends ``header`` first, as a proxy does; see the function `header`."""

    fault: ClassVar[type[ProxyError]] = ProxyError
    handshake_only = True
    speaks_first = False
    ended = False
    partial = False
    established = True
    peername = None
    tls = None
    timeout: float = 0.0

    def __init__(self, header: bytes) -> None:
        self.output: ssl.MemoryBIO = ssl.MemoryBIO()
        self.output.write(header)

    def received(self, data: bytes) -> bytes:
        return data

    def send(self, data: bytes) -> bytes:
        return data

    def eof(self) -> None:
        pass

    def close(self) -> bytes:
        return b""


def header(version: str, source: Address, destination: Address) -> bytes:
    """The PROXY header, of ``version`` "v1" or "v2", for a connection between two addresses.

    For a Unix socket it contains no address (UNKNOWN or LOCAL). Version 2 has a field for socket
    paths, but HAProxy 2.6 closes connections of any family other than IP.
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
    """``host`` without the interface name of a link-local address, which only this host knows."""
    return host.partition("%")[0]


def begins(held: bytes | bytearray, signature: bytes) -> bool:
    """Can the stream that begins with ``held`` begin with ``signature``?"""
    return held.startswith(signature) or signature.startswith(bytes(held[: len(signature)]))


def _binary_size(held: bytearray) -> int:
    _, version_command, _, length = HEAD.unpack_from(held)
    if version_command not in (_LOCAL, _PROXY):
        raise ProxyError(f"invalid PROXY version and command {version_command:#04x}")
    return HEAD.size + int(length)


def parse_line(line: bytes) -> str | None:
    """The client's address in a version 1 header, given without CRLF; None for UNKNOWN."""
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    families = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
    if len(words) != 6 or words[1] not in families:
        raise ProxyError(f"an invalid PROXY line: {line!r}")
    family = families[words[1]]
    hosts = [_host(family, word) for word in words[2:4]]
    ports = [_port(word) for word in words[4:6]]
    return str(address.of((hosts[0], ports[0])))


def parse_binary(header: bytes, family: int) -> str | None:
    """The client's address in a version 2 header; None for a family without addresses."""
    sizes = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
    if family not in sizes:
        raise ProxyError(f"invalid PROXY address family {family:#04x}")
    start, stop = HEAD.size, HEAD.size + sizes[family]
    if len(header) < stop:
        raise ProxyError("a PROXY header too short for its addresses")
    if not family:
        return None
    _check_fields(header, stop)
    addresses = header[start:stop]
    if family >> 4 == 3:
        path = addresses[:108].partition(b"\0")[0]
        return address.peer_name(path)
    size = 4 if family >> 4 == 1 else 16
    kind = socket.AF_INET if size == 4 else socket.AF_INET6
    port = int.from_bytes(addresses[2 * size : 2 * size + 2], "big")
    return str(address.of((socket.inet_ntop(kind, addresses[:size]), port)))


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4, computed sixteen bytes at a time."""
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15 = _crc_tables()
    crc = 0xFFFFFFFF
    whole = len(data) & ~15
    for b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15 in struct.iter_unpack(
        "16B", data[:whole]
    ):
        crc = (
            (t15[crc & 255 ^ b0] ^ t14[crc >> 8 & 255 ^ b1])
            ^ (t13[crc >> 16 & 255 ^ b2] ^ t12[crc >> 24 ^ b3])
            ^ (t11[b4] ^ t10[b5] ^ t9[b6] ^ t8[b7] ^ t7[b8] ^ t6[b9])
            ^ (t5[b10] ^ t4[b11] ^ t3[b12] ^ t2[b13] ^ t1[b14] ^ t0[b15])
        )
    for byte in data[whole:]:
        crc = crc >> 8 ^ t0[crc & 255 ^ byte]
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


@cache
def _crc_tables() -> list[list[int]]:
    """For each byte, the checksum of that byte followed by 0 to 15 zero bytes."""
    tables = [[_crc_of_byte(byte) for byte in range(256)]]
    for _ in range(15):
        tables.append([crc >> 8 ^ tables[0][crc & 255] for crc in tables[-1]])
    return tables


def _check_fields(header: bytes, start: int) -> None:
    """Check the TLVs, which begin at ``start``, and the checksum among them. At most one checksum,
    of four bytes (2.2.3), is allowed, so that the work is linear in the size of the header."""
    checksum = 0  # its offset
    stop, unpack, head = len(header), _FIELD.unpack_from, _FIELD.size
    try:
        while start < stop:
            kind, size = unpack(header, start)
            start += head
            if kind == _CRC32C:
                if checksum or size != 4:
                    raise ProxyError("a PROXY header with an invalid checksum field")
                checksum = start
            start += size
    except struct.error:
        raise ProxyError("a PROXY header with a truncated field") from None
    if start > stop:
        raise ProxyError("a PROXY header with a truncated field")
    if checksum:
        _check_crc32c(header, checksum)


def _check_crc32c(header: bytes, start: int) -> None:
    """The checksum at ``start`` is computed with zeros in its own four bytes."""
    blank = header[:start] + bytes(4) + header[start + 4 :]
    if int.from_bytes(header[start : start + 4], "big") != crc32c(blank):
        raise ProxyError("a PROXY header with a wrong checksum")


def _host(family: socket.AddressFamily, word: bytes) -> str:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, word.decode("ascii")))
    except (OSError, ValueError):
        raise ProxyError(f"{word!r} in a PROXY line is not an address") from None


def _port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 65535:
        raise ProxyError(f"{word!r} in a PROXY line is not a port")
    return int(word)
