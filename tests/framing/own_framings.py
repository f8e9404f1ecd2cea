"""Framings of protocols without a name, as users write them: each says how large a frame is."""

from __future__ import annotations

import re
import struct

from epollo.errors import FrameCorrupt
from epollo.framing import Header, Sized

_RELP = re.compile(rb"[0-9]{1,9} [a-z]{1,32} ([0-9]{1,9})[ \n]")


class DBus(Sized):
    """D-Bus specification, "Message Format": a header of fields, filled up to 8 bytes; a body."""

    def measure(self, header: Header) -> int | None:
        if header[0] not in b"lB":
            raise FrameCorrupt("frame begins with no byte order")
        order = "<" if header[0] == 0x6C else ">"
        if len(header) < 16:
            return None
        body, _, fields = struct.unpack_from(f"{order}3I", header, 4)
        size: int = 16 + (fields + 7) // 8 * 8 + body
        return size


class Coap(Sized):
    """RFC 8323, 3.2: the length is in four bits, or in up to four bytes behind them."""

    def measure(self, header: Header) -> int | None:
        short = header[0] >> 4
        wide, more = {13: (1, 13), 14: (2, 269), 15: (4, 65805)}.get(short, (0, short))
        if len(header) < 1 + wide:
            return None
        length = int.from_bytes(header[1 : 1 + wide], "big") + more
        return 2 + wide + (header[0] & 15) + length


class Records(Sized):
    """RFC 5531, 11: the highest bit of a length says whether it is of the last fragment."""

    def measure(self, header: Header) -> int | None:
        at = header.state or 0
        while at + 4 <= len(header) and at <= self.max_frame:
            length = int.from_bytes(header[at : at + 4], "big")
            at = header.state = at + 4 + (length & 0x7FFFFFFF)
            if length >> 31:
                return at
        return at if at > self.max_frame else None


class FastCgi(Sized):
    """FastCGI specification, 3.3: eight bytes with the lengths of the content and the padding."""

    def measure(self, header: Header) -> int | None:
        return 8 + (header[4] << 8) + header[5] + header[6] if len(header) >= 8 else None


class BitTorrent(Sized):
    """BEP 3: a handshake, then lengths of four bytes, of which the first is 0."""

    def measure(self, header: Header) -> int | None:
        if header[0] == 19:
            return 68
        return 4 + int.from_bytes(header[:4], "big") if len(header) >= 4 else None


class Bolt(Sized):
    """Bolt, "Message transfer encoding": chunks with a length of two bytes, until an empty one."""

    def measure(self, header: Header) -> int | None:
        at = header.state or 0
        while at + 2 <= len(header) and at <= self.max_frame:
            length = int.from_bytes(header[at : at + 2], "big")
            at = header.state = at + 2 + length
            if not length:
                return at
        return at if at > self.max_frame else None


class Memcached(Sized):
    """memcached's protocol.txt: a line; behind those of some commands as many bytes as it says."""

    def measure(self, header: Header) -> int | None:
        end = header.find(b"\n", 0, 2048)
        if end < 0 and len(header) >= 2048:
            raise FrameCorrupt("a line is longer than 2048 bytes")
        words = bytes(header[:end]).split() if end >= 0 else []
        if words and words[0] in (b"set", b"add", b"replace", b"append", b"prepend", b"cas"):
            return end + 3 + (int(words[4]) if words[4:] and words[4].isdigit() else 0)
        return end + 1 if end >= 0 else None


class Relp(Sized):
    """RELP specification, 3: a number, a command and a length, each before a blank; data, LF."""

    trailer = b"\n"

    def measure(self, header: Header) -> int | None:
        start = _RELP.match(header)
        if start is None and len(header) >= 64:
            raise FrameCorrupt("frame has no length")
        if start is None:
            return None
        return start.end() + (int(start[1]) + 1 if start[1] != b"0" else 0)
