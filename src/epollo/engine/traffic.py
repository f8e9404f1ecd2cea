"""Messages and bytes, in and out: of one connection, or of all connections of a protocol.

A connection counts bytes once for each read and send, and messages once for each batch of them, so
a message costs next to nothing. It counts only if its protocol has an attribute ``traffic``.
"""

from __future__ import annotations

import time


class Traffic:
    """Totals since its creation, at the time.monotonic() of ``since``.

    ``messages_in`` were received whole, ``messages_out`` were queued for the peer. ``bytes_in``
    were read from the kernel, ``bytes_out`` were taken by it: with headers of frames, the TLS
    handshake and records, and a PROXY header. In the loop's thread.
    """

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out", "since")

    def __init__(self) -> None:
        self.messages_in: int = 0
        self.messages_out: int = 0
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.since: float = time.monotonic()

    def add(self, other: Traffic) -> None:
        """Count what ``other`` has counted, too."""
        self.messages_in += other.messages_in
        self.messages_out += other.messages_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
