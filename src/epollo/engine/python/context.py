"""What the connections of one protocol on one loop have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from epollo.engine.framings import context_with
from epollo.engine.growth import Growth
from epollo.engine.interface import ConnectionProtocol, EngineConnection, LoopInterface, Reply
from epollo.filters.base import Filter
from epollo.framing import Buffer, Framing
from epollo.framing.own import OURS, checked

_Filters: TypeAlias = Callable[[EngineConnection], Sequence[Filter]]


class BufferedLoop(LoopInterface, Protocol):
    """What a connection needs of its loop, and what all of them share there."""

    buffer: memoryview  # to read into
    to_flush: list[Any]
    growth: Growth  # of what all of them hold
    seen_at: int  # the tick at which what a look of a sweep finds had begun, at the latest


class ConnectionContext:
    """Looked up once here, not for each of them."""

    __slots__ = (
        "buffer",
        "contexts",
        "counts",
        "counts_growth",
        "encode",
        "filters",
        "framing",
        "loop",
        "protocol",
        "received",
        "to_flush",
        "wants_connection",
    )

    def __init__(
        self, loop: BufferedLoop, protocol: ConnectionProtocol, framing: Framing | None = None
    ) -> None:
        self.loop: BufferedLoop = loop
        self.protocol: ConnectionProtocol = protocol
        self.received: Callable[..., Reply] = protocol.received
        self.wants_connection: bool = getattr(protocol, "wants_connection", True)
        if (rates := getattr(protocol, "rates", None)) is not None:
            self.received = rates.limited(self.received, self.wants_connection)
            self.wants_connection = True
        self.framing: Framing = protocol.framing if framing is None else framing
        self.contexts: dict[object, ConnectionContext] = {}  # see `context_with`
        if not type(self.framing).__module__.startswith(OURS):  # as `checked` does, without a call
            self.framing = checked(self.framing)
        self.encode: Callable[[Buffer], bytes] = self.framing.encode
        self.filters: _Filters | None = getattr(protocol, "filters", None)
        self.counts: bool = getattr(protocol, "counts", False)
        self.buffer: memoryview = loop.buffer
        self.counts_growth: bool = loop.growth.limited  # before the first connection
        self.to_flush: list[Any] = loop.to_flush

    def with_framing(self, given: object) -> ConnectionContext:
        """The same with the framing ``given``. Raises FramingSpecError."""
        found: ConnectionContext = context_with(self, given)
        return found

    def other(self, framing: Framing) -> ConnectionContext:
        """A new one with ``framing``."""
        other = ConnectionContext(self.loop, self.protocol, framing)
        other.contexts = self.contexts
        return other
