"""The messages that the load tester sends: each unlike any other, so that a reply can be verified.

A message is its number, its connection and the time it was meant to be sent at, then a pattern
derived from them, cut to the size wanted. It is compared as bytes when it comes back; only one
that differs is looked into, to say how. Nothing from the network is ever evaluated.
"""

from __future__ import annotations

import struct
from enum import StrEnum

_HEADER = struct.Struct("<QIQ")  # number first and little-endian: a short message still differs
NUMBERED = 8  # bytes, from which on no two messages that are outstanding can be alike
PERIOD = 256
APART = 1021  # sizes from one connection to the next: large messages are not to come all at once


class Fault(StrEnum):
    """What can be wrong with a reply that is not the one expected."""

    WRONG_BYTES = "wrong_bytes"
    WRONG_ORDER = "wrong_order"
    DUPLICATE = "duplicate"
    EXTRA = "extra"
    SHORT = "short"


class Payload:
    """Makes messages of ``sizes`` bytes, one after the other and over again, each connection from
    another place on; ``text`` ones are printable ASCII, for framings by delimiter."""

    def __init__(self, sizes: list[int], text: bool) -> None:
        self.sizes = sizes
        self.text = text
        self._header_size = 2 * _HEADER.size if text else _HEADER.size
        period = bytes(32 + n % 95 for n in range(PERIOD)) if text else bytes(range(PERIOD))
        self.pattern = period * (max(sizes) // PERIOD + 2)

    def message(self, connection: int, number: int, intended: int) -> bytes:
        """The message ``number`` of ``connection``, meant to be sent at ``intended`` ns."""
        if self.text:
            header = b"%016x%08x%016x" % (intended, connection, number)
            header = header[::-1]  # the digit that changes from message to message first
        else:
            header = _HEADER.pack(number, connection, intended)
        sizes = self.sizes
        rest = sizes[(number + connection * APART) % len(sizes)] - len(header)
        if rest <= 0:
            return header[: len(header) + rest]
        offset = (number * 7 + connection) % PERIOD
        return header + self.pattern[offset : offset + rest]

    def fault(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> Fault:
        """What is wrong with ``reply``, which is none of the messages outstanding.

        ``expected`` is the oldest of these (None: there is none), ``sent`` how many messages the
        ``connection`` has sent. A message shorter than its header cannot say whose it is: one
        that comes twice cannot be told from wrong bytes then.
        """
        if self._repeated(reply, expected, connection, sent):
            return Fault.DUPLICATE
        return plain_fault(reply, expected)

    def _repeated(self, reply: bytes, expected: bytes | None, connection: int, sent: int) -> bool:
        """Is it, to the byte, an earlier message of the connection?"""
        known = self._identity(reply)
        if known is None or known[1] != connection or known[0] >= sent:
            return False
        if self.message(connection, known[0], known[2]) != reply:
            return False
        # The expected one whose number or whose time was damaged looks like another, too.
        due = None if expected is None else self._identity(expected)
        return due is None or (known[0] != due[0] and known[2] != due[2])

    def _identity(self, message: bytes) -> tuple[int, int, int] | None:
        """The number, connection and time that ``message`` says it has, where it has room."""
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


def plain_fault(reply: bytes, expected: bytes | None) -> Fault:
    """What is wrong with ``reply`` where messages do not say whose they are."""
    if expected is None:
        return Fault.EXTRA
    return Fault.SHORT if expected.startswith(reply) else Fault.WRONG_BYTES
