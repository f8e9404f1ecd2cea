"""The messages that the load tester sends by default: all different, so replies can be verified.

A message is its number, its connection and its due time, then a pattern derived from them, cut to
its size. A reply is compared as bytes; it is only parsed if it differs, to find out how. Nothing
from the network is ever evaluated.
"""

from __future__ import annotations

import struct
from enum import StrEnum

_HEADER = struct.Struct("<QIQ")  # number first and little-endian: a short message still differs
# The bytes of a message in each of which it differs from all others outstanding on its connection.
NUMBER, TIME = range(8), range(12, 20)
PERIOD = 256
APART = 1021  # offset between the sizes of two connections: large messages are spread in time


class Fault(StrEnum):
    """How a reply can differ from the expected one."""

    WRONG_BYTES = "wrong_bytes"
    WRONG_ORDER = "wrong_order"
    DUPLICATE = "duplicate"
    EXTRA = "extra"
    SHORT = "short"


class Payload:
    """Makes messages whose sizes cycle through ``sizes``; each connection starts at another place.
    With ``text`` they are printable ASCII, for framings by delimiter."""

    def __init__(self, sizes: list[int], text: bool) -> None:
        self.sizes = sizes
        self.text = text
        self._header_size = 2 * _HEADER.size if text else _HEADER.size
        period = bytes(32 + n % 95 for n in range(PERIOD)) if text else bytes(range(PERIOD))
        self.pattern: bytes = period * (max(sizes) // PERIOD + 2)

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, due at ``intended`` ns."""
        if self.text:
            header = b"%016x%08x%016x" % (intended, connection, number)
            header = header[::-1]  # puts the digit that changes most often first
        else:
            header = _HEADER.pack(number, connection, intended)
        sizes = self.sizes
        remainder = sizes[(number + connection * APART) % len(sizes)] - len(header)
        if remainder <= 0:
            return header[: len(header) + remainder]
        offset = (number * 7 + connection) % PERIOD
        return header + self.pattern[offset : offset + remainder]

    def fault(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> Fault:
        """The fault of ``reply``, which matches no message outstanding.

        ``expected`` is the oldest of those (None if there is none), ``sent`` the number of messages
        sent on the ``connection``. A message shorter than its header does not identify itself, so
        a repeated one is taken for wrong bytes.
        """
        if self._repeated(reply, expected, connection, sent):
            return Fault.DUPLICATE
        return _plain_fault(reply, expected)

    def _repeated(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> bool:
        """Is it exactly an earlier message of the connection?"""
        known = self._identity(reply)
        if known is None or known[1] != connection or known[0] >= sent:
            return False
        if self.message(connection, known[0], known[2]) != reply:
            return False
        # The expected message with a damaged number or time looks like another message, too.
        due = None if expected is None else self._identity(expected)
        return due is None or (known[0] != due[0] and known[2] != due[2])

    def _identity(self, message: bytes) -> tuple[int, int, int] | None:
        """The number, connection and time in ``message``; None if it is too short."""
        header = message[: self._header_size]
        if len(header) < self._header_size:
            return None
        try:
            if self.text:
                header = int(header[::-1], 16).to_bytes(_HEADER.size, "little")
            number, connection, intended = _HEADER.unpack(header)
        except (ValueError, OverflowError):
            return None
        return number, connection, intended


class Unnumbered:
    """Messages that do not identify themselves."""

    def fault(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> Fault:
        """The fault of ``reply``: extra, short or wrong_bytes."""
        return _plain_fault(reply, expected)


def _plain_fault(reply: bytes, expected: bytes | None) -> Fault:
    """The fault of ``reply``, for messages that do not identify themselves."""
    if expected is None:
        return Fault.EXTRA
    return Fault.SHORT if expected.startswith(reply) else Fault.WRONG_BYTES
