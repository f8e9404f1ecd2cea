"""The errors a user can meet. Each is one line that names the thing and the fix."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar


class EpolloError(Exception):
    """Base of every error that epollo raises on purpose."""


class UsageError(EpolloError, ValueError):
    """What the user wrote cannot work as written; the command line exits with status 2."""


class AddressError(UsageError):
    """An address that cannot be read."""


class FramingSpecError(UsageError):
    """A framing spec that names no framing, or one that cannot be."""


class HandlerError(UsageError):
    """An application that cannot be found, or is not one."""


class SettingError(UsageError):
    """A setting with an unknown name or an impossible value."""


class GroupError(UsageError):
    """A group joined by a connection whose protocol has none, such as a client's."""


class BindError(EpolloError, OSError):
    """An address that cannot be listened on."""


class PollerFull(EpolloError):
    """A descriptor that the poller cannot watch (select's limit)."""


class EngineMissing(EpolloError):
    """An engine or a poller that this machine or this build does not have."""


class FrameError(EpolloError, ValueError):
    """A byte stream that is not, or is no longer, a sequence of frames.

    ``messages`` holds the messages that were complete before the fault in the same
    ``Decoder.feed``: they were received, and are the caller's to handle first.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.messages: list[bytes] = []


class FrameTooLarge(FrameError):
    """A frame over ``max_frame``: ``size`` bytes announced or seen where ``limit`` are allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"frame of {size} bytes is over max_frame ({limit} bytes)")
        self.size = size
        self.limit = limit


class FrameCorrupt(FrameError):
    """Bytes that can never be a frame."""


class FrameTruncated(FrameError):
    """The stream ended inside a frame."""


class FilterError(EpolloError):
    """A stream that does not begin, or go on, as what stands before the framing asks for.

    ``reason`` is the name of the close reason; ``received`` the plain bytes that were good before
    the fault, in the same read.
    """

    reason: ClassVar[str]

    def __init__(self, text: str, received: bytes = b"") -> None:
        super().__init__(text)
        self.received = received


class TLSError(FilterError):
    """A TLS handshake that failed, or a record that is none."""

    reason = "tls_error"


class ProxyError(FilterError):
    """A PROXY protocol's header that is missing, or none."""

    reason = "proxy_error"


class EncodeError(EpolloError, ValueError):
    """A message that the framing cannot put on the wire."""


class ConnectionClosed(EpolloError, ConnectionError):
    """The connection is closed, so there is nothing to send to or receive from."""


class StreamEnded(ConnectionClosed):
    """The peer has ended its stream, between two messages; nothing was lost."""


class ConnectError(EpolloError, ConnectionError):
    """No connection could be made to an address."""


class TLSHandshakeError(ConnectError):
    """The address was reached, but the TLS handshake failed: the certificate is not trusted, the
    server does not speak TLS, or the two sides share no version or cipher."""


class ClientTimeout(EpolloError, TimeoutError):
    """The peer did not answer, or did not take what was sent, within the timeout."""


DEPRECATED = {
    "ConnectFailed": "ConnectError",
    "ReplyTimeout": "ClientTimeout",
    "TLSFailed": "TLSHandshakeError",
}
"""The former names of errors, and the names to write instead."""

if TYPE_CHECKING:
    ConnectFailed = ConnectError
    ReplyTimeout = ClientTimeout
    TLSFailed = TLSHandshakeError
else:

    def __getattr__(name: str) -> type[EpolloError]:
        """The error that a former name stands for, with a DeprecationWarning (PEP 562)."""
        if name not in DEPRECATED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return deprecated(name)


def deprecated(name: str) -> type[EpolloError]:
    """The error that ``name`` stood for. Warns where a module's ``__getattr__`` was asked."""
    new = DEPRECATED[name]
    warnings.warn(f"epollo.{name} is now epollo.{new}", DeprecationWarning, stacklevel=3)
    error: type[EpolloError] = globals()[new]
    return error
