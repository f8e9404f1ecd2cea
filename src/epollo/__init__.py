"""epollo: a Python function becomes a message server on an epoll loop.

import epollo

def handle(message: bytes, connection: epollo.Connection) -> bytes | None:
    return message  # whole message in, whole reply out

epollo.serve(handle, "0.0.0.0:8091", framing="u32")
"""

from typing import TYPE_CHECKING, Any

from epollo import client, errors, framing
from epollo.client import Backoff, Client, connect
from epollo.engine import CloseReason, Connection
from epollo.errors import (
    AddressError,
    BindError,
    ClientTimeout,
    ConnectError,
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
    HandlerTimeout,
    LimitError,
    PollerFull,
    ProxyError,
    ResultFileError,
    SettingError,
    StreamEnded,
    TLSError,
    TLSHandshakeError,
    UsageError,
)
from epollo.reasons import Refusal
from epollo.server.counters import Counts
from epollo.server.groups.broker import Broker, LocalBroker
from epollo.server.server import Server, serve
from epollo.settings import Settings

if TYPE_CHECKING:
    from epollo.client import AsyncClient
    from epollo.errors import ConnectFailed as ConnectFailed
    from epollo.errors import ReplyTimeout as ReplyTimeout
    from epollo.errors import TLSFailed as TLSFailed
else:

    def __getattr__(name: str) -> Any:
        """`AsyncClient`, which imports asyncio, on first use; and the former names of errors."""
        if name in errors.DEPRECATED:
            return errors.deprecated(name)
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
    "ClientTimeout",
    "CloseReason",
    "ConnectError",
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
    "HandlerTimeout",
    "LimitError",
    "LocalBroker",
    "PollerFull",
    "ProxyError",
    "Refusal",
    "ResultFileError",
    "Server",
    "SettingError",
    "Settings",
    "StreamEnded",
    "TLSError",
    "TLSHandshakeError",
    "UsageError",
    "connect",
    "framing",
    "serve",
]
