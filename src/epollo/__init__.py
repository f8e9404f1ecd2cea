"""epollo: a Python function becomes a message server on an epoll loop.

import epollo

def handle(message: bytes, connection: epollo.Connection) -> bytes | None:
    return message  # whole message in, whole reply out

epollo.serve(handle, "0.0.0.0:8091", framing="u32")
"""

TYPE_CHECKING = False  # as `typing` has it; importing that takes a fifth of Python's own start
if TYPE_CHECKING:
    from epollo import address as address
    from epollo import bench as bench
    from epollo import client as client
    from epollo import engine as engine
    from epollo import errors as errors
    from epollo import filters as filters
    from epollo import framing
    from epollo import reasons as reasons
    from epollo import server as server
    from epollo import settings as settings
    from epollo import testing as testing
    from epollo import tls as tls
    from epollo import units as units
    from epollo.client import AsyncClient, AsyncPool, Backoff, Client, Match, Pool, connect
    from epollo.engine import Connection, DelayedCall
    from epollo.errors import (
        AddressError,
        BadMessage,
        BindError,
        ClientTimeout,
        ConnectError,
        ConnectionClosed,
        ControlError,
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
        PhaseError,
        PollerFull,
        ProxyError,
        ResultFileError,
        SettingError,
        StreamEnded,
        TLSError,
        TLSHandshakeError,
        UsageError,
        WorkerError,
    )
    from epollo.errors import ConnectFailed as ConnectFailed
    from epollo.errors import ReplyTimeout as ReplyTimeout
    from epollo.errors import TLSFailed as TLSFailed
    from epollo.reasons import CloseReason, Refusal
    from epollo.server.counters import Counts
    from epollo.server.groups.broker import Broker, BrokerCounts, LocalBroker
    from epollo.server.handlers.handler import BaseHandler, Handler
    from epollo.server.server import Server
    from epollo.serving import serve
    from epollo.settings import Settings

__version__ = "1.0.0rc1"

__all__ = [
    "AddressError",
    "AsyncClient",
    "AsyncPool",
    "Backoff",
    "BadMessage",
    "BaseHandler",
    "BindError",
    "Broker",
    "BrokerCounts",
    "Client",
    "ClientTimeout",
    "CloseReason",
    "ConnectError",
    "Connection",
    "ConnectionClosed",
    "ControlError",
    "Counts",
    "DelayedCall",
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
    "Handler",
    "HandlerError",
    "HandlerTimeout",
    "LimitError",
    "LocalBroker",
    "Match",
    "PhaseError",
    "PollerFull",
    "Pool",
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
    "WorkerError",
    "connect",
    "framing",
    "serve",
]

_MODULES = frozenset(
    [
        *("address", "bench", "client", "engine", "errors", "filters", "framing", "reasons"),
        *("server", "settings", "testing", "tls", "units"),
    ]
)
_MODULE_OF = {
    "AsyncClient": "epollo.client",
    "AsyncPool": "epollo.client",
    "Backoff": "epollo.client",
    "BaseHandler": "epollo.server.handlers.handler",
    "Broker": "epollo.server.groups.broker",
    "BrokerCounts": "epollo.server.groups.broker",
    "Client": "epollo.client",
    "CloseReason": "epollo.reasons",
    "Connection": "epollo.engine",
    "DelayedCall": "epollo.engine",
    "Counts": "epollo.server.counters",
    "Handler": "epollo.server.handlers.handler",
    "LocalBroker": "epollo.server.groups.broker",
    "Match": "epollo.client",
    "Pool": "epollo.client",
    "Refusal": "epollo.reasons",
    "Server": "epollo.server.server",
    "Settings": "epollo.settings",
    "connect": "epollo.client",
    "serve": "epollo.serving",
}
"""The module of each public name; the errors are in `epollo.errors`."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


if not TYPE_CHECKING:  # a type checker would take every name for one of these

    def __getattr__(name: str) -> object:
        """Import a public name, or a module, on first use (PEP 562)."""
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"epollo.{name}")
        if name in __all__:
            value = getattr(import_module(_MODULE_OF.get(name, "epollo.errors")), name)
            return globals().setdefault(name, value)
        errors = import_module("epollo.errors")
        if name in errors.DEPRECATED:
            return errors.deprecated(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
