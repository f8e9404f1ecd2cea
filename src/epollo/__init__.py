"""epollo: a Python function becomes a message server on an epoll loop.

import epollo

def handle(message: bytes, connection: epollo.Connection) -> bytes | None:
    return message  # whole message in, whole reply out

epollo.serve(handle, "0.0.0.0:8091", framing="u32")
"""

from typing import TYPE_CHECKING, Any

from epollo import client, framing
from epollo.client import Backoff, Client, connect
from epollo.engine import CloseReason, Connection
from epollo.errors import (
    AddressError,
    BindError,
    ConnectFailed,
    ConnectionClosed,
    EncodeError,
    EngineMissing,
    EpolloError,
    FilterError,
    FrameCorrupt,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
    FramingSpecError,
    GroupError,
    HandlerError,
    LimitError,
    PollerFull,
    ProxyError,
    ReplyTimeout,
    ResultFileError,
    SettingError,
    StreamEnded,
    TLSError,
    TLSFailed,
    UsageError,
)
from epollo.server.counters import Counts, Refusal
from epollo.server.groups.broker import Broker, LocalBroker
from epollo.server.server import Server, serve
from epollo.settings import Settings

if TYPE_CHECKING:
    from epollo.client import AsyncClient
else:

    def __getattr__(name: str) -> Any:
        """`AsyncClient` when it is first asked for: asyncio is imported with it (PEP 562)."""
        if name != "AsyncClient":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return client.AsyncClient


__version__ = "0.1.0"

__all__ = [
    "AddressError",
    "AsyncClient",
    "Backoff",
    "BindError",
    "Broker",
    "Client",
    "CloseReason",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "Counts",
    "EncodeError",
    "EngineMissing",
    "EpolloError",
    "FilterError",
    "FrameCorrupt",
    "FrameError",
    "FrameTooLarge",
    "FrameTruncated",
    "FramingSpecError",
    "GroupError",
    "HandlerError",
    "LimitError",
    "LocalBroker",
    "PollerFull",
    "ProxyError",
    "Refusal",
    "ReplyTimeout",
    "ResultFileError",
    "Server",
    "SettingError",
    "Settings",
    "StreamEnded",
    "TLSError",
    "TLSFailed",
    "UsageError",
    "connect",
    "framing",
    "serve",
]
