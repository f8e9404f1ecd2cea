"""A blocking client of a framed server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Self, Unpack

from epollo.client.arguments import ConnectOptions, read_arguments
from epollo.client.backoff import Backoff, waits_until
from epollo.client.endpoint import Endpoint
from epollo.client.stream import Stream
from epollo.client.sync_transport import DeadlinePassed, SyncTransport, dial
from epollo.errors import (
    ClientTimeout,
    ConnectError,
    ConnectionClosed,
    EncodeError,
    FrameTruncated,
    StreamEnded,
    UsageError,
)
from epollo.framing import DEFAULT_MAX_FRAME, Buffer, Framing


def connect(
    to: str,
    framing: str | Framing = "u32",
    timeout: float | None = 5.0,
    max_frame: int = DEFAULT_MAX_FRAME,
    **options: Unpack[ConnectOptions],
) -> Client:
    """A client connected to ``to``, an address in the form that ``--bind`` takes.

    ``timeout``, in seconds, limits the connecting and then each call; None waits without limit.
    Keyword arguments:

    ``tls`` is a context, or True for the system's (ssl.create_default_context).
    ``server_hostname``, by default the host of ``to``, is the name that the server's certificate
    has to be valid for.

    With ``reconnect``, a `Backoff` or True for its defaults, a call that sends connects again if
    the connection is lost. It never sends a message twice: the server may have handled it, and
    only the caller knows whether it may be repeated. urllib3 and Go's net/http have the same rule;
    redis-py repeats a command, and Go's net/rpc never reconnects.

    Raises AddressError, FramingSpecError, SettingError, ConnectError, TLSHandshakeError.
    """
    return Client(*read_arguments(to, framing, timeout, max_frame, **options))


class Client:
    """One connection, for one thread at a time. Made by `connect`; a context manager.

    Iterating yields messages until the peer ends the stream. If the server also sends messages
    without a request, use `send` and `receive`: `request` takes the next message as its reply.
    """

    def __init__(self, endpoint: Endpoint, timeout: float | None, backoff: Backoff | None) -> None:
        self._endpoint = endpoint
        self._backoff = backoff
        self._queue: deque[bytes] = deque()
        self._pipelining = False
        self._closed = False
        self.timeout: float | None = timeout
        self.peername: str = str(endpoint)
        self._open(self._deadline())

    def request(self, message: Buffer, *, idempotent: bool = False) -> bytes:
        """Send ``message`` and return the next one received, within ``timeout`` in all.

        Raises as `send` and `receive`. An error after bytes are sent closes the connection;
        otherwise a late reply would be taken as the reply to the next request. If the client
        reconnects, an ``idempotent`` message is sent once more when the connection is lost.
        """
        frame = self._endpoint.framing.encode(message)
        deadline = self._deadline()
        self._make_ready(deadline)
        try:
            return self._ask(frame, deadline)
        except (ConnectionClosed, FrameTruncated):
            if not idempotent or self._backoff is None:
                raise
        self._make_ready(deadline)
        return self._ask(frame, deadline)

    def requests(self, messages: Iterable[Buffer], window: int = 64) -> Iterator[bytes]:
        """Send ``messages`` and yield the reply to each, in their order.

        At most ``window`` messages are sent ahead of the replies taken. ``timeout`` limits the
        wait for each reply. Raises as `request`, but EncodeError only after the replies to the
        messages already sent. Stopping before the last reply closes the connection.
        """
        if window < 1:
            raise UsageError(f"window={window} must be at least 1")
        return self._pipeline(iter(messages), window)

    def send(self, message: Buffer) -> None:
        """Send one whole message.

        Raises EncodeError before a byte is sent, ConnectionClosed and ClientTimeout. After a
        ClientTimeout an unknown part of the message is sent, so the connection is closed. Replies
        are not read meanwhile: to send many messages before their replies, use `requests`.
        """
        frame = self._endpoint.framing.encode(message)
        deadline = self._deadline()
        self._make_ready(deadline, sending=True)
        self._send(frame, deadline)

    def receive(self) -> bytes:
        """The next message.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed if the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated if the stream ends
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: a new connection has
        no message to give.
        """
        return self._next(self._deadline())

    def end(self) -> None:
        """End the outgoing stream (half-close); replies can still be received.

        Raises ConnectionClosed, and UsageError for TLS: Python has no half-close for it.
        """
        try:
            self._transport.end()
        except OSError as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Close for good; later calls raise ConnectionClosed."""
        self._closed = True
        self._stream.close("closed here")
        self._transport.close()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                message = self.receive()
            except StreamEnded:
                return
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def _deadline(self) -> float | None:
        return None if self.timeout is None else time.monotonic() + self.timeout

    def _open(self, deadline: float | None) -> None:
        self._transport: SyncTransport = dial(self._endpoint, deadline)
        self._stream = Stream(self._endpoint)

    def _make_ready(self, deadline: float | None, *, sending: bool = False) -> None:
        """Ensure that there is a connection. If the client does not reconnect, `send` may still
        use (``sending``) one whose peer has ended its stream: the peer may still read."""
        if self._pipelining:
            raise UsageError(
                "replies of requests() are still to come; take them, or close the iterator, first"
            )
        if self._backoff is not None and not self._closed:
            self._check_alive()
            if self._stream.fault is not None:
                self._reconnect(self._backoff, deadline)
        elif self._stream.fault is not None and (self._closed or not sending):
            raise self._stream.fault()

    def _check_alive(self) -> None:
        """Before sending, check whether the server has closed the connection (as urllib3 does)."""
        if self._stream.fault is None and not self._queue:
            try:
                data = self._transport.receive_now()
            except OSError as error:
                self._stream.broken(error)
            else:
                self._feed(data)

    def _reconnect(self, backoff: Backoff, deadline: float | None) -> None:
        self._transport.abort()
        failure: ConnectError | None = None
        for wait in waits_until(backoff, deadline, time.monotonic):
            time.sleep(wait)
            try:
                self._open(deadline)
                return
            except ConnectError as error:
                failure = error
        assert failure is not None
        raise failure

    def _ask(self, frame: bytes, deadline: float | None) -> bytes:
        try:
            self._send(frame, deadline)
            return self._next(deadline)
        except BaseException:
            self._drop("a request had no reply")
            raise

    def _pipeline(self, messages: Iterator[Buffer], window: int) -> Iterator[bytes]:
        self._make_ready(self._deadline())
        unsent = bytearray()
        awaited = 0
        refused: EncodeError | None = None
        self._pipelining = True
        try:
            while True:
                if awaited <= window // 2 and refused is None:  # the peer works on the other half
                    added, refused = self._pack(islice(messages, window - awaited), unsent)
                    awaited += added
                    self._transport.send_some(unsent)
                if not awaited:
                    break
                reply = self._next(self._deadline(), unsent)
                awaited -= 1
                yield reply
        finally:
            self._pipelining = False
            if awaited:
                self._queue.clear()
                self._drop("not all replies of requests() were taken")
        if refused is not None:
            raise refused

    def _pack(
        self, messages: Iterable[Buffer], unsent: bytearray
    ) -> tuple[int, EncodeError | None]:
        """Add the frames of ``messages`` to ``unsent``; returns their number, and an error."""
        added = 0
        try:
            for message in messages:
                unsent += self._endpoint.framing.encode(message)
                added += 1
        except EncodeError as error:
            return added, error
        return added, None

    def _send(self, frame: bytes, deadline: float | None) -> None:
        try:
            self._transport.send(frame, deadline)
        except DeadlinePassed:
            self._drop("a message was not taken")
            raise ClientTimeout(
                f"{self.peername} did not take the message within {self.timeout:g} s"
            ) from None
        except OSError as error:
            raise self._broken(error) from error
        except BaseException:  # KeyboardInterrupt, or an error of a signal handler
            self._drop("a message was not sent whole")
            raise

    def _next(self, deadline: float | None, unsent: bytearray | None = None) -> bytes:
        while not self._queue:
            if self._stream.fault is not None:
                raise self._stream.fault()
            self._read(deadline, unsent)
        return self._queue.popleft()

    def _read(self, deadline: float | None, unsent: bytearray | None) -> None:
        """Wait until ``deadline`` for bytes, and decode them."""
        try:
            self._feed(self._transport.receive(deadline, unsent))
        except DeadlinePassed:
            raise ClientTimeout(f"no message from {self.peername} in {self.timeout:g} s") from None
        except OSError as error:
            raise self._broken(error) from error

    def _feed(self, data: bytes | None) -> None:
        if data:
            self._queue += self._stream.feed(data)
        elif data is not None:
            self._stream.end()

    def _broken(self, error: OSError) -> ConnectionClosed:
        """End the connection with ``error``; returns the error to raise."""
        self._stream.broken(error)
        assert self._stream.fault is not None
        fault = self._stream.fault()
        return fault if isinstance(fault, ConnectionClosed) else ConnectionClosed(str(fault))

    def _drop(self, why: str) -> None:
        """Close the connection; the client may open another."""
        self._stream.close(why)
        self._transport.abort()
