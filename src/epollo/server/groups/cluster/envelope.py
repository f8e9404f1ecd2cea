"""What one message is in NATS: a header of 25 bytes, and the published bytes as they are.

The header is a kind; the node and the process that publish; the stream, which is a sequence of
messages to one group; and a number in that stream, from 1 on. It is big-endian.

    MESSAGE   a published message
    TOLD      no message: the number of the last one so far
    ASK       no message: the sender has members of the group now; tell it your last number
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MESSAGE, TOLD, ASK = 1, 2, 3

_HEADER = struct.Struct("!B8sIIQ")
HEADER_SIZE = _HEADER.size


class Origin(NamedTuple):
    """The publisher: a node, which is one server with all its workers, and a process of it."""

    node: bytes  # 8 bytes
    process: int


class Envelope(NamedTuple):
    """The header, and what follows it."""

    kind: int
    origin: Origin
    stream: int
    number: int
    message: bytes


def pack(kind: int, origin: Origin, stream: int, number: int, message: bytes = b"") -> bytes:
    """The bytes for NATS."""
    return _HEADER.pack(kind, origin.node, origin.process, stream, number) + message


def unpack(data: bytes) -> Envelope | None:
    """The envelope in ``data``, from NATS; None if some other program has sent it."""
    if len(data) < HEADER_SIZE or not MESSAGE <= data[0] <= ASK:
        return None
    kind, node, process, stream, number = _HEADER.unpack_from(data)
    return Envelope(kind, Origin(node, process), stream, number, data[HEADER_SIZE:])
