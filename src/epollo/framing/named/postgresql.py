"""PostgreSQL, protocol 3 (PostgreSQL documentation, "Message Formats")."""

from __future__ import annotations

from epollo.errors import FrameCorrupt
from epollo.framing.sized import Header, Sized


class PostgreSQL(Sized):
    """What a client sends: first messages without a type, whose first byte is 0, then typed ones.

    The message is the whole frame. A reply has a type, except the one byte for an SSLRequest.
    """

    def measure(self, header: Header) -> int | None:
        typed = 1 if header[0] else 0
        if len(header) < 4 + typed:
            return None
        length = int.from_bytes(header[typed : typed + 4], "big")
        if length < 4:
            raise FrameCorrupt(f"length {length} does not count itself")
        return typed + length
