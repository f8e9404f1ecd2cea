"""The errors that users see. Each message is one line that names the problem and the fix."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

from epollo.plurals import counted


class EpolloError(Exception):
    """Base of every error that epollo raises on purpose. The command line exits with
    ``exit_status``."""

    exit_status: ClassVar[int] = 1


class UsageError(EpolloError, ValueError):
    """The caller's input is wrong."""

    exit_status = 2


class AddressError(UsageError):
    """An invalid address."""


class FramingSpecError(UsageError):
    """A framing spec with an unknown name or impossible values."""


class HandlerError(UsageError):
    """An application that cannot be found, or is not a handler."""


class HandlerTimeout(EpolloError, TimeoutError):
    """A handler that did not return within ``handler_timeout``: why its connection was closed."""


class BadMessage(EpolloError):
    """For a handler to raise: the peer has sent a message that its protocol does not allow.

    The connection is closed as after any error of a handler: no message more is delivered, and the
    replies before are sent. But the reason is `bad_message`, and the log has the text of the error
    as one line at level info, as for other faults of a peer.
    """


class SettingError(UsageError):
    """A setting with an unknown name or an impossible value."""


class ResultFileError(SettingError):
    """A file that cannot be read as a result of ``epollo bench --json``."""


class LimitError(SettingError):
    """An invalid limit of a load test, such as ``p99>5`` without a unit."""


class PhaseError(UsageError):
    """The framing was to change, or TLS to begin, at a moment at which it cannot."""


class GroupError(UsageError):
    """A connection without groups, such as a client's, was to join one."""


class BindError(EpolloError, OSError):
    """The server cannot listen on an address."""


class WorkerError(EpolloError):
    """A worker process that ended, or did not answer, before it served."""


class ControlError(EpolloError):
    """A running server that cannot be reached at its control socket, or has refused a command."""


class PollerFull(EpolloError):
    """The poller cannot watch a descriptor (select's limit)."""


class EngineMissing(EpolloError):
    """This machine or this build does not have the engine or the poller."""

    exit_status = 2


class FrameError(EpolloError, ValueError):
    """The byte stream is not a sequence of frames.

    ``messages`` holds the messages that the same ``Decoder.feed`` completed before the error; the
    caller handles them first.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.messages: list[bytes] = []


class FrameTooLarge(FrameError):
    """A frame of ``size`` bytes, announced or received, is over ``max_frame``, ``limit`` bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"frame of {counted(size, 'byte')} is over max_frame ({counted(limit, 'byte')})"
        )
        self.size = size
        self.limit = limit


class FrameCorrupt(FrameError):
    """The bytes cannot be the start of a frame."""


class FrameTruncated(FrameError):
    """The stream ended inside a frame."""


class FilterError(EpolloError):
    """The stream breaks the protocol of a filter, such as TLS, below the framing.

    ``reason`` is the name of the close reason; ``received`` holds the plain bytes of the same read
    that came before the error.
    """

    reason: ClassVar[str]

    def __init__(self, text: str, received: bytes = b"") -> None:
        super().__init__(text)
        self.received = received


class TLSError(FilterError):
    """The TLS handshake failed, or a record is invalid."""

    reason = "tls_error"


class ProxyError(FilterError):
    """The PROXY protocol header is missing or invalid."""

    reason = "proxy_error"


class EncodeError(EpolloError, ValueError):
    """The framing cannot carry the message."""


class ConnectionClosed(EpolloError, ConnectionError):
    """The connection is closed: nothing can be sent or received."""


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
    """The error that ``name`` stood for. The warning names the caller of ``__getattr__``."""
    new = DEPRECATED[name]
    warnings.warn(f"epollo.{name} is now epollo.{new}", DeprecationWarning, stacklevel=3)
    error: type[EpolloError] = globals()[new]
    return error
