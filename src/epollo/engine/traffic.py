"""Messages and bytes, in and out, of many connections together.

A connection counts bytes once for each read and send, and messages once for each batch of them, so
a message costs next to nothing. It counts only if its protocol has an attribute ``counts`` that is
true.
"""

from __future__ import annotations

from typing import Protocol


class Counting(Protocol):
    """What a connection, or a sum of them, has counted."""

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int


class Traffic:
    """Sums."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in: int = 0
        self.messages_out: int = 0
        self.bytes_in: int = 0
        self.bytes_out: int = 0

    def add(self, other: Counting) -> None:
        """Count what ``other`` has counted, too."""
        self.messages_in += other.messages_in
        self.messages_out += other.messages_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out

    def raise_to(self, other: Counting) -> None:
        """Be no less than ``other`` in any count."""
        self.messages_in = max(self.messages_in, other.messages_in)
        self.messages_out = max(self.messages_out, other.messages_out)
        self.bytes_in = max(self.bytes_in, other.bytes_in)
        self.bytes_out = max(self.bytes_out, other.bytes_out)
