"""How many messages were received: counted only if a setting depends on it, since it costs each."""

from __future__ import annotations

from collections.abc import Callable

from epollo.engine import EngineConnection, Reply


class MessageCount:
    """Counts the messages that reach the application, since its creation."""

    def __init__(self) -> None:
        self.total: int = 0

    def counted(
        self, received: Callable[[bytes, EngineConnection], Reply]
    ) -> Callable[[bytes, EngineConnection], Reply]:
        """``received``, which is called with a message and its connection, and counts it."""

        def count(message: bytes, connection: EngineConnection) -> Reply:
            self.total += 1
            return received(message, connection)

        return count
