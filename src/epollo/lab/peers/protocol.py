"""Framed echo as an `asyncio.Protocol` in its usual form, for asyncio and uvloop."""

from __future__ import annotations

import asyncio
import struct
from typing import cast

from epollo.lab.peers.handler import handle

HEADER = struct.Struct(">I")


class FramedEcho(asyncio.Protocol):
    """One connection: collects bytes, and replies to each u32 frame in them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer: bytearray = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer.extend(data)
        start = 0
        while len(buffer) - start >= HEADER.size:
            payload = start + HEADER.size
            end = payload + HEADER.unpack_from(buffer, start)[0]
            if end > len(buffer):
                break
            reply = handle(bytes(buffer[payload:end]))
            self.transport.write(HEADER.pack(len(reply)) + reply)
            start = end
        del buffer[:start]
