"""What a handler is, in types."""

from __future__ import annotations

from collections.abc import AsyncIterable, Coroutine
from typing import Any, Protocol, TypeAlias

from epollo.engine import CloseReason, Connection, Reply
from epollo.framing import Buffer

HandlerResult: TypeAlias = (
    Reply | AsyncIterable[Buffer] | Coroutine[Any, Any, Reply | AsyncIterable[Buffer]]
)
"""What a handler returns: its reply; of an ``async def``, a coroutine that returns the reply, or an
async generator of its messages."""


class MessageHandler(Protocol):
    """A callable of ``(message)``."""

    def __call__(self, message: bytes, /) -> HandlerResult:
        """Handle one message."""


class ConnectionHandler(Protocol):
    """A callable of ``(message, connection)``."""

    def __call__(self, message: bytes, connection: Connection[Any], /) -> HandlerResult:
        """Handle one message of one connection."""


class ObjectHandler(Protocol):
    """An object with ``received`` and, optionally, the hooks of `BaseHandler`.

    A Protocol cannot have optional members (PEP 544), so a type checker compares the hooks only
    in subclasses of `BaseHandler`; `application` checks those of every object, at the start.
    """

    @property
    def received(self) -> MessageHandler | ConnectionHandler:
        """Called with each message."""


Handler: TypeAlias = MessageHandler | ConnectionHandler | ObjectHandler
"""What `epollo.serve` and `epollo.Server` take: a callable of ``(message)`` or ``(message,
connection)``; or an object with such a ``received`` and, optionally, the hooks of `BaseHandler`.
Any of these functions may be async.
"""


class BaseHandler:
    """The hooks of a handler object. Each of them does nothing.

    A handler object need not inherit from this class. If it does, a type checker finds hooks with
    a wrong signature and, with `typing.override`, hooks with a wrong name.
    """

    def connected(self, connection: Connection[Any], /) -> object:
        """The connection is established. Called before its first message."""

    def disconnected(self, connection: Connection[Any], reason: CloseReason, /) -> object:
        """The connection is closed. Called last, exactly once for each ``connected``."""

    def started(self, server: Any, /) -> object:
        """The `epollo.Server` listens. Called before it accepts a connection."""

    def stopping(self, server: Any, /) -> object:
        """The `epollo.Server` is to stop. Called once, while it still accepts and serves."""

    def closing(self, connection: Connection[Any], /) -> object:
        """The server is about to end the connection, because it stops, and all that came is
        answered. What it sends is sent before the close."""

    def stopped(self, server: Any, /) -> object:
        """The last connection of the `epollo.Server` has ended."""

    def missed(self, server: Any, group: str, count: int, /) -> object:
        """``count`` messages that other nodes have published to ``group``, which has members here,
        did not arrive. Called with the setting ``broker`` only."""
