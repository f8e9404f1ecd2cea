"""The incoming stream of one connection: its messages, and the error that ends it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from epollo.causes import cause_of, tls_cause_of
from epollo.client.endpoint import Endpoint
from epollo.errors import ConnectionClosed, EpolloError, FrameError, StreamEnded
from epollo.framing.base import fault_of


class Stream:
    """Decodes received bytes into messages until the connection ends.

    ``fault`` makes the error of that end, the first if there are several; None before it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._name = str(endpoint)
        self._framing = endpoint.framing.name
        self._decoder = endpoint.framing.decoder()
        self.fault: Callable[[], EpolloError] | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, including those before a bad frame."""
        if self.fault is not None:
            return []
        try:
            return self._decoder.feed(data)
        except FrameError as error:
            self.fault = fault_of(error)
            return error.messages
        except Exception as error:
            self._user_error(f"framing {self._framing}", error)
            return []

    def end(self) -> None:
        """The peer has ended its stream."""
        try:
            self._decoder.eof()
        except FrameError as error:
            self._fail(fault_of(error))
        except Exception as error:
            self._user_error(f"framing {self._framing}", error)
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
