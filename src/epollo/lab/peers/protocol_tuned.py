"""Framed echo as an `asyncio.Protocol`, made fast by measuring."""

from __future__ import annotations

import asyncio
import struct
from typing import cast

from epollo.lab.peers.handler import handle

pack_header = struct.Struct(">I").pack
unpack_header = struct.Struct(">I").unpack_from


class TunedFramedEcho(asyncio.Protocol):
    """One connection: cuts u32 frames out of each read's own bytes, one write for its replies.

    One write for the replies of a read is level with a write for each reply at depth 1 and several
    times faster at depth 16; cutting the bytes of the read itself is 5 to 20 % faster than passing
    them through a bytearray.
    """

    transport: asyncio.Transport
    partial = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self.partial + data  # CPython copies nothing when one of the two is empty
        available = len(data)
        replies: list[bytes] = []
        start = 0
        while available - start >= 4:
            payload = start + 4
            end = payload + unpack_header(data, start)[0]
            if end > available:
                break
            reply = handle(data[payload:end])
            replies += pack_header(len(reply)), reply
            start = end
        self.partial = data[start:]
        if replies:
            self.transport.write(b"".join(replies))
