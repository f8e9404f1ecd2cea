"""The incoming stream of one connection: its messages, and the error that ends it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from epollo.causes import cause_of, tls_cause_of
from epollo.client.endpoint import Endpoint
from epollo.errors import ConnectionClosed, EpolloError, FrameError, PhaseError, StreamEnded
from epollo.framing import Framing
from epollo.framing.base import fault_of
from epollo.framing.reframing import bytes_of, rest_of
from epollo.plurals import counted


class Read(NamedTuple):
    """The bytes of one read, the messages in it, and the fault behind them."""

    data: bytes
    messages: list[bytes]
    fault: Callable[[], EpolloError] | None


class Stream:
    """Decodes received bytes into messages until the connection ends.

    ``fault`` makes the error of that end, the first if there are several; None before it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._name = str(endpoint)
        self._framing = endpoint.framing
        self._decoder = endpoint.framing.decoder()
        self._read: Read | None = None  # the last one, if more came behind its first message
        self.fault: Callable[[], EpolloError] | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, including those before a bad frame."""
        if self.fault is not None:
            return []
        try:
            messages = self._decoder.feed(data)
        except FrameError as error:
            self.fault = fault_of(error)
            messages = error.messages
        except Exception as error:
            self._user_error(f"framing {self._framing.name}", error)
            return []
        several = len(messages) > 1 or (messages and self.fault is not None)
        self._read = Read(data, messages, self.fault) if several else None
        return messages

    def reframe(self, framing: Framing, left: int) -> list[bytes]:
        """Decode by ``framing`` from now on, beginning behind the message before the last ``left``.
        Returns the messages that came behind it. Raises PhaseError if the bytes are not known."""
        rest = self._behind(left)
        if self.may_be_reframed:
            self.fault = None  # it was of the framing before
        self._framing, self._decoder = framing, framing.decoder()
        return self.feed(rest) if rest else []

    @property
    def may_be_reframed(self) -> bool:
        """Is the fault one of the framing, behind messages that came with it? Then another framing
        may begin there."""
        return self._read is not None and self.fault is self._read.fault

    def _behind(self, left: int) -> bytes:
        read = self._read
        if read is None and not left:
            return rest_of(self._framing, self._decoder.partial_bytes)
        if read is None or left >= len(read.messages):
            raise PhaseError(f"framing: receive the {counted(left, 'message')} before it first")
        taken = len(read.messages) - left
        return read.data[bytes_of(self._framing, read.data, read.messages, taken) :]

    @property
    def partial(self) -> bool:
        """Has more come than whole messages, as far as is known?"""
        return self._decoder.partial_bytes != b""

    def end(self) -> None:
        """The peer has ended its stream."""
        try:
            self._decoder.eof()
        except FrameError as error:
            self._fail(fault_of(error))
        except Exception as error:
            self._user_error(f"framing {self._framing.name}", error)
        else:
            self._fail(partial(StreamEnded, f"{self._name} has closed the connection"))

    def broken(self, error: Exception) -> None:
        """The connection failed."""
        text = f"connection to {self._name} is broken: {broken_by(error)}"
        self._fail(partial(ConnectionClosed, text))

    def match_failed(self, error: Exception) -> None:
        """The user's function to match replies raised ``error``: they can be told apart no more."""
        self._user_error("match", error)

    def close(self, why: str) -> None:
        """The connection is closed by this side."""
        self._fail(partial(ConnectionClosed, f"connection to {self._name} is closed: {why}"))

    def _user_error(self, what: str, error: Exception) -> None:
        text = f"connection to {self._name} is closed: {what} raised {error!r}"

        def fault() -> ConnectionClosed:
            closed = ConnectionClosed(text)
            closed.__cause__ = error
            return closed

        self._fail(fault)

    def _fail(self, fault: Callable[[], EpolloError]) -> None:
        self.fault = self.fault or fault


def broken_by(error: Exception) -> str:
    """The cause of ``error``; for TLS, OpenSSL's name for it."""
    if isinstance(error, ssl.SSLEOFError):
        return "it ended without a TLS close_notify, so data may be missing"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return f"TLS: {tls_cause_of(error)}"
    return cause_of(error)
