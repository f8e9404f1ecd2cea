"""What a handler may return."""

from __future__ import annotations

from collections.abc import Iterable

from epollo.engine.interface import Reply
from epollo.framing import Buffer


def messages_of(reply: Reply) -> Iterable[Buffer]:
    """The messages that ``reply`` consists of. Raises TypeError if it is no reply."""
    if reply is None:
        return ()
    if isinstance(reply, bytes | bytearray | memoryview):
        return (reply,)
    if isinstance(reply, str) or not isinstance(reply, Iterable):
        kind = type(reply).__name__
        raise TypeError(f"handler returned {kind}; return bytes, None, or an iterable of bytes")
    return reply
