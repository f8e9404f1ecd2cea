"""For tests: a connection in memory, and a check of a framing; no socket, no thread, no loop.

with epollo.testing.connect(handler, framing="line") as connection:
    assert connection.receive(b"hello") == [b"hello"]

epollo.testing.check_framing("line", frames=[b"one\\n"], messages=[b"one"])
"""

from __future__ import annotations

from typing import Unpack

from epollo.framing import AnyFraming
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.handlers.application import application
from epollo.server.handlers.handler import Handler
from epollo.setting_values import ConnectionValues
from epollo.settings import settings_from
from epollo.testing.connection import MemoryConnection
from epollo.testing.framings import check_framing
from epollo.testing.server import MemoryServer

__all__ = ["MemoryConnection", "MemoryServer", "check_framing", "connect"]


def connect(
    handler: Handler,
    framing: AnyFraming = "u32",
    *,
    peername: str = "memory",
    **settings: Unpack[ConnectionValues],
) -> MemoryConnection:
    """A connection in memory to ``handler``, for a ``with`` block, or an ``async with`` if the
    handler has async functions. ``settings`` are the fields of `epollo.Settings`.

    Raises UsageError for what cannot be served either.
    """
    chosen = settings_from(framing=framing, **settings)
    return MemoryConnection(ApplicationProtocol(chosen, application(handler)), chosen, peername)
