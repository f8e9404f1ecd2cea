"""Where the protocols that have a name keep the identifier of a request and its reply.

Each function is given a whole message, as the framing of the protocol delivers it. It returns None
for a message without an identifier, so that the server's own requests are pushes, not replies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Place: TypeAlias = Callable[[bytes], slice | None]
"""Where the identifier of a message is."""


class Identifier(NamedTuple):
    """The place of an identifier in requests, and in replies; with its fixed offset and size, if
    it has the same ones in both."""

    request: Place
    reply: Place
    at: tuple[int, int] | None = None
    order: Literal["big", "little"] = "big"


def _fixed(offset: int, size: int) -> Place:
    where = slice(offset, offset + size)
    return lambda message: where if len(message) >= where.stop else None


def _at(offset: int, size: int) -> Identifier:
    return Identifier(_fixed(offset, size), _fixed(offset, size), (offset, size))


def _reply_of_smpp(message: bytes) -> slice | None:
    """SMPP 3.4, 3.2: the highest bit of the command says that it is a response."""
    return slice(12, 16) if len(message) >= 16 and message[4] & 0x80 else None


def _reply_of_diameter(message: bytes) -> slice | None:
    """RFC 6733, 3: the hop-by-hop identifier, of an answer, whose R bit is not set."""
    return slice(12, 16) if len(message) >= 16 and not message[4] & 0x80 else None


def _place_in_thrift(message: bytes) -> slice | None:
    """Thrift binary protocol: the sequence number behind the name; first the strict form."""
    strict = message[:1] == b"\x80"
    start = 4 if strict else 0
    name = start + 4 + int.from_bytes(message[start : start + 4], "big")
    where = slice(name, name + 4) if strict else slice(name + 1, name + 5)
    return where if len(message) >= where.stop else None


def _place_in_ldap(message: bytes) -> slice | None:
    """RFC 4511, 4.1.1: the INTEGER at the start of the SEQUENCE."""
    if len(message) < 5:
        return None
    start = 2 + (message[1] & 0x7F if message[1] & 0x80 else 0)
    if message[start : start + 1] != b"\x02" or start + 2 > len(message):
        return None
    where = slice(start + 2, start + 2 + message[start + 1])
    return where if message[start + 1] and len(message) >= where.stop else None


def _reply_of_ldap(message: bytes) -> slice | None:
    """RFC 4511, 4.4: an unsolicited notification has the identifier 0."""
    where = _place_in_ldap(message)
    return where if where is not None and any(message[where]) else None


IDENTIFIERS: dict[str, Identifier] = {
    "modbus": _at(0, 2),  # Modbus Messaging on TCP/IP 1.0b, 3.1.3: the transaction identifier
    "dns": _at(0, 2),  # RFC 1035, 4.1.1
    "kafka": Identifier(_fixed(4, 4), _fixed(0, 4)),  # Kafka protocol guide: correlation_id
    "thrift": Identifier(_place_in_thrift, _place_in_thrift),
    "smpp": Identifier(_fixed(12, 4), _reply_of_smpp),
    "diameter": Identifier(_fixed(12, 4), _reply_of_diameter),
    "mongodb": Identifier(_fixed(4, 4), _fixed(8, 4), order="little"),  # requestID, responseTo
    "ldap": Identifier(_place_in_ldap, _reply_of_ldap),
}
"""By the name of the framing."""
