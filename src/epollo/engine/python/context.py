"""What the connections of one protocol on one loop have in common."""

from __future__ import annotations

from typing import Any, Protocol

from epollo.engine import ConnectionProtocol
from epollo.engine.source import Watcher


class BufferedWatcher(Watcher, Protocol):
    """What a connection asks of its loop, and what all of them share there."""

    buffer: memoryview  # to read into
    dirty: list[Any]


class Plan:
    """It is looked up once here, not for each of them."""

    __slots__ = ("buffer", "dirty", "encode", "filters", "loop", "protocol", "received")

    def __init__(self, loop: BufferedWatcher, protocol: ConnectionProtocol) -> None:
        self.loop = loop
        self.protocol = protocol
        self.received = protocol.received
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.buffer = loop.buffer
        self.dirty = loop.dirty
