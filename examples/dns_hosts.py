"""DNS over TCP from a hosts file: A, AAAA and PTR; every other name does not exist.

    python examples/dns_hosts.py 127.0.0.1:5353 /etc/hosts
    epollo serve examples.dns_hosts:Hosts --framing dns --idle-timeout 10s
    dig +tcp -p 5353 @127.0.0.1 localhost

RFC 1035 for the messages, RFC 7766 for TCP, RFC 6891 for the OPT record (EDNS).
"""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import epollo

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255  # types; ANY is a class too
IN = 1
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16  # response codes
QR, OPCODE, AA, RD = 0x8000, 0x7800, 0x0400, 0x0100  # flags, and a field among them
TTL = 0  # seconds: nobody keeps what a file says that may change
IDLE = "10s"  # RFC 7766, 6.2.3: a server keeps an idle connection for a few seconds
FIRST_NAME = b"\xc0\x0c"  # a pointer to the question's name, which stands behind the header

HEADER = struct.Struct(">6H")  # id, flags; how many questions, answers, authorities, others
RECORD = struct.Struct(">HHIH")  # behind its name: type, class, TTL, size of its data

Record: TypeAlias = tuple[int, bytes]
"""Type and data."""


class Hosts:
    """The names and addresses of a hosts file, hosts(5), as it is when the server starts."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self.records: dict[bytes, list[Record]] = defaultdict(list)
        for line in Path(path).read_text().splitlines():
            self._add(line.partition("#")[0].split())

    def received(self, message: bytes) -> bytes | None:
        """The response to a query. What has no header, or is a response itself, gets none."""
        if len(message) < HEADER.size:
            return None
        number, flags, questions, *others = HEADER.unpack_from(message)
        if flags & QR:
            return None
        if flags & OPCODE:
            return _response(number, flags, NOTIMP)
        try:
            if questions != 1:  # RFC 9619
                raise ValueError("there must be one question")
            end = _end_of_name(message, HEADER.size)
            kind, family = struct.unpack_from(">HH", message, end)
            version = _edns_version(message, end + 4, sum(others))
        except (ValueError, IndexError, struct.error):
            return _response(number, flags, FORMERR)
        question = message[HEADER.size : end + 4]
        if version:  # 0 is the only one there is
            return _response(number, flags, BADVERS, question, edns=True)
        code, answers = self._find(message[HEADER.size : end].lower(), kind, family)  # RFC 4343
        return _response(number, flags, code, question, answers, edns=version is not None)

    def _find(self, name: bytes, kind: int, family: int) -> tuple[int, list[Record]]:
        if family not in (IN, ANY):
            return REFUSED, []
        if 128 <= kind < ANY:  # zone transfers and their kin (RFC 6895, 3.1)
            return NOTIMP, []
        if name not in self.records:
            return NXDOMAIN, []
        records = dict.fromkeys(self.records[name])  # each once
        return NOERROR, [record for record in records if kind in (record[0], ANY)]

    def _add(self, words: list[str]) -> None:
        try:
            address = ipaddress.ip_address(words[0])
            names = [_wire(name) for name in words[1:]]
            reverse = _wire(address.reverse_pointer)
        except (IndexError, ValueError):  # a line that says nothing; the C library goes on too
            return
        for name in names:
            self.records[name.lower()].append((A if address.version == 4 else AAAA, address.packed))
        self.records[reverse] += [(PTR, name) for name in names[:1]]  # the others are aliases


def _response(
    number: int,
    flags: int,
    code: int,
    question: bytes = b"",
    answers: Sequence[Record] = (),
    edns: bool = False,
) -> bytes:
    flags = QR | flags & (OPCODE | RD) | (AA if code in (NOERROR, NXDOMAIN) else 0) | code & 15
    parts = [HEADER.pack(number, flags, bool(question), len(answers), 0, edns), question]
    for kind, data in answers:
        parts += FIRST_NAME, RECORD.pack(kind, IN, TTL, len(data)), data
    if edns:  # the class is a size that UDP alone needs; the code's high bits are in the TTL
        parts += b"\0", RECORD.pack(OPT, 1232, code >> 4 << 24, 0)
    return b"".join(parts)


def _end_of_name(message: bytes, at: int, pointers: bool = False) -> int:
    """Where the name that begins ``at`` ends. The first name has nothing it could point to."""
    start = at
    while size := message[at]:
        if size >= 0xC0 and pointers:
            return at + 2
        if size > 63 or at + size - start > 253:
            raise ValueError("a label has at most 63 bytes, a name 255")
        at += 1 + size
    return at + 1


def _edns_version(message: bytes, at: int, records: int) -> int | None:
    """The version that the OPT record among the ``records`` has; None where there is no OPT."""
    versions = []
    for _ in range(records):
        at = _end_of_name(message, at, pointers=True)
        kind, _, ttl, size = RECORD.unpack_from(message, at)
        at += RECORD.size + size
        versions += [ttl >> 16 & 0xFF] if kind == OPT else []
    if at != len(message) or len(versions) > 1:
        raise ValueError("records do not end with the message, or there are two OPT")
    return versions[0] if versions else None


def _wire(name: str) -> bytes:
    labels = name.encode("ascii").removesuffix(b".").split(b".")
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if _end_of_name(wire, 0) != len(wire):
        raise ValueError("an empty label ends a name")
    return wire


if __name__ == "__main__":
    epollo.serve(Hosts(*sys.argv[2:3]), *sys.argv[1:2], framing="dns", idle_timeout=IDLE)
