"""What the connections of one protocol on one loop have in common."""

from __future__ import annotations

from typing import Any, Protocol

from epollo.engine.interface import ConnectionProtocol, LoopInterface


class BufferedLoop(LoopInterface, Protocol):
    """What a connection needs of its loop, and what all of them share there."""

    buffer: memoryview  # to read into
    to_flush: list[Any]


class ConnectionContext:
    """Looked up once here, not for each of them."""

    __slots__ = ("buffer", "encode", "filters", "loop", "protocol", "received", "to_flush")

    def __init__(self, loop: BufferedLoop, protocol: ConnectionProtocol) -> None:
        self.loop = loop
        self.protocol = protocol
        self.received = protocol.received
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.buffer = loop.buffer
        self.to_flush = loop.to_flush
