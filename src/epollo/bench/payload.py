"""The messages that the load tester sends: each unlike any other, so that a reply can be verified.

A message is its number, its connection and the time it was meant to be sent at, then a pattern
derived from them, cut to the size wanted. It is compared as bytes when it comes back; only one
that differs is looked into, to say how. Nothing from the network is ever evaluated.
"""

from __future__ import annotations

import struct
from enum import StrEnum

_HEADER = struct.Struct("<QIQ")  # number first and little-endian: a short message still differs
_PERIOD = 256


class Fault(StrEnum):
    """What can be wrong with a reply that is not the one expected."""

    WRONG_BYTES = "wrong_bytes"
    WRONG_ORDER = "wrong_order"
    DUPLICATE = "duplicate"
    EXTRA = "extra"
    SHORT = "short"


class Payload:
    """Makes messages of one size; ``text`` ones are printable ASCII, for framings by line."""

    def __init__(self, size: int, text: bool) -> None:
        self.size = size
        self._text = text
        period = bytes(32 + n % 95 for n in range(_PERIOD)) if text else bytes(range(_PERIOD))
        self._pattern = period * (size // _PERIOD + 2)

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, meant to be sent at ``intended`` ns."""
        header = _HEADER.pack(number, connection, intended)
        if self._text:
            header = header.hex().encode()
        offset = (number * 7 + connection) % _PERIOD
        rest = max(0, self.size - len(header))
        return (header + self._pattern[offset : offset + rest])[: self.size]

    def fault(self, reply: bytes, expected: bytes | None, answered: int) -> Fault:
        """What is wrong with ``reply``, which is not ``expected`` (None: nothing outstanding).

        Messages of the connection before number ``answered`` have had their replies.
        """
        known = self._identity(reply)
        if expected is not None and known == self._identity(expected):
            return Fault.SHORT if expected.startswith(reply) else Fault.WRONG_BYTES
        if expected is not None and expected.startswith(reply):
            return Fault.SHORT
        if known is not None and len(reply) == self.size and known[0] < answered:
            return Fault.DUPLICATE
        if expected is None:
            return Fault.EXTRA
        ours = self._identity(expected)
        if known is not None and ours is not None and known[1] == ours[1]:
            return Fault.WRONG_ORDER
        return Fault.WRONG_BYTES

    def _identity(self, message: bytes) -> tuple[int, int] | None:
        """The number and the connection that ``message`` says it has, where it has room."""
        try:
            header = bytes.fromhex(message[: 2 * _HEADER.size].decode()) if self._text else message
            number, connection, _ = _HEADER.unpack_from(header)
        except (ValueError, struct.error):
            return None
        return number, connection
