"""A blocking client of a framed server."""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Self

from epollo.client.backoff import Backoff, make_backoff
from epollo.client.endpoint import Endpoint, check_timeout, make_endpoint
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
    *,
    tls: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    reconnect: Backoff | bool = False,
) -> Client:
    """A client connected to ``to``, an address in the form that ``--bind`` takes.

    ``timeout`` bounds, in seconds, the connecting and then each call; None waits for ever. ``tls``
    is a context, or True for the system's (ssl.create_default_context); the certificate has to be
    for ``server_hostname``, the host of ``to`` where not given.

    With ``reconnect``, a `Backoff` or True for its defaults, a call that sends connects anew where
    the connection is gone. It never sends anything twice: what may have reached the server may
    have been carried out, so only who asks knows whether it may be asked again. That is urllib3's
    rule, and Go's net/http's; redis-py repeats a command, Go's net/rpc never reconnects.

    Raises AddressError, FramingSpecError, SettingError, ConnectError, TLSHandshakeError.
    """
    endpoint = make_endpoint(to, framing, max_frame, tls, server_hostname)
    return Client(endpoint, check_timeout(timeout), make_backoff(reconnect))


class Client:
    """One connection, for one thread at a time. Made by `connect`; a context manager.

    Iterating yields messages until the peer ends the stream. A server that also sends messages
    of its own accord is for `send` and `receive`: `request` takes the next message for its reply.
    """

    def __init__(self, endpoint: Endpoint, timeout: float | None, backoff: Backoff | None) -> None:
        self._endpoint = endpoint
        self._backoff = backoff
        self._queue: deque[bytes] = deque()
        self._pipelining = False
        self._closed = False
        self.timeout = timeout
        self.peername = str(endpoint)
        self._open(self._deadline())

    def request(self, message: Buffer, *, idempotent: bool = False) -> bytes:
        """Send ``message`` and return the next one received, within ``timeout`` in all.

        Raises as `send` and `receive`. Whatever it raises once bytes are sent closes the
        connection, for the late reply would be taken for the next request's. Where the client
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

        At most ``window`` are sent ahead of the replies taken. ``timeout`` bounds the wait for
        each reply. Raises as `request`; EncodeError only after the replies to what was sent.
        Whoever stops before the last reply leaves a closed connection.
        """
        if window < 1:
            raise UsageError(f"window={window} lets nothing be sent; it must be at least 1")
        return self._pipeline(iter(messages), window)

    def send(self, message: Buffer) -> None:
        """Send one message whole.

        Raises EncodeError before a byte is sent, ConnectionClosed and ClientTimeout. After a
        ClientTimeout an unknown part of the message is sent, so the connection is closed. What
        comes meanwhile stays in the kernel: to send much ahead of many replies, use `requests`.
        """
        frame = self._endpoint.framing.encode(message)
        deadline = self._deadline()
        self._make_ready(deadline, sending=True)
        self._send(frame, deadline)

    def receive(self) -> bytes:
        """The next message.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed where the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated where that is
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: nothing would come.
        """
        return self._next(self._deadline())

    def end(self) -> None:
        """Send no more (half-close); the replies to what was sent can still be received.

        Raises ConnectionClosed, and UsageError for TLS, which has no half-close in Python.
        """
        try:
            self._transport.end()
        except OSError as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Close for good; a call after it raises ConnectionClosed."""
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
        """See that there is a connection. Without reconnecting, one whose peer has ended its
        stream will do for ``sending``: it may still read."""
        if self._pipelining:
            raise UsageError("replies of requests() are still to come; take or close them first")
        if self._backoff is not None and not self._closed:
            self._check_alive()
            if self._stream.fault is not None:
                self._reconnect(self._backoff, deadline)
        elif self._stream.fault is not None and (self._closed or not sending):
            raise self._stream.fault()

    def _check_alive(self) -> None:
        """Notice, before anything is sent, that the server has gone meanwhile (as urllib3 does)."""
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
        for wait in backoff.waits():
            if failure and deadline is not None and time.monotonic() + wait >= deadline:
                break
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
                if awaited <= window // 2 and refused is None:  # the other half keeps the peer busy
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
        """Add the frames of ``messages`` to ``unsent``; how many, and why no more."""
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
        except BaseException:  # KeyboardInterrupt, or what a signal handler raises
            self._drop("a message was not sent whole")
            raise

    def _next(self, deadline: float | None, unsent: bytearray | None = None) -> bytes:
        while not self._queue:
            if self._stream.fault is not None:
                raise self._stream.fault()
            self._read(deadline, unsent)
        return self._queue.popleft()

    def _read(self, deadline: float | None, unsent: bytearray | None) -> None:
        """Wait for bytes until ``deadline``, however they trickle, and cut them."""
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
        """The error to raise, and the connection's end. A closed one is that already."""
        self._stream.broken(error)
        assert self._stream.fault is not None
        fault = self._stream.fault()
        return fault if isinstance(fault, ConnectionClosed) else ConnectionClosed(str(fault))

    def _drop(self, why: str) -> None:
        """Give the connection up, not the client."""
        self._stream.close(why)
        self._transport.abort()
