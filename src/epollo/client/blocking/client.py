"""A blocking client of a framed server."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self, Unpack

from epollo.address.dialing import LONGEST_WAIT
from epollo.client.arguments import (
    ClientArguments,
    ConnectOptions,
    HasTimeout,
    Timeout,
    after_error,
    read_arguments,
    with_tls,
)
from epollo.client.blocking.call import Call
from epollo.client.blocking.connection import SyncConnection
from epollo.client.blocking.deadline import Deadline
from epollo.client.blocking.dialing import dial
from epollo.client.blocking.pipeline import pipeline
from epollo.client.forks import Owner
from epollo.client.phases import check_phase
from epollo.client.received import Received
from epollo.client.reconnects import Reconnects
from epollo.client.wording import closed_here
from epollo.errors import (
    ClientTimeout,
    ConnectionClosed,
    FrameTruncated,
    PhaseError,
    StreamEnded,
    UsageError,
)
from epollo.framing import DEFAULT_MAX_FRAME, AnyFraming, Buffer, Framing
from epollo.framing.reframing import framing_of


def connect(
    to: str,
    framing: AnyFraming = "u32",
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

    ``match`` says how replies are matched to requests by an identifier that both contain:
    ``"bytes(OFFSET,SIZE)"``, a protocol such as ``"kafka"``, a function that returns the identifier
    of a message, or a `epollo.client.Match`. It is needed for a server that replies out of order
    (``ordered=False``), or that sends messages without a request. Without it the next message is
    taken for the reply to the oldest request: **nothing tells that it is another one's**.
    ``on_push`` is called with each message that has no request; without it, `receive` returns them.

    ``keepalive`` is the silence in seconds after which TCP probes the server. A server that has
    vanished ends the connection after twice that time, also while sent bytes are not acknowledged
    (TCP_USER_TIMEOUT). 0 is never.

    With ``reconnect``, a `Backoff` or True for its defaults, a call that sends connects again if
    the connection is lost. It never sends a message twice: the server may have handled it, and
    only the caller knows whether it may be repeated. urllib3 and Go's net/http have the same rule;
    redis-py repeats a command, and Go's net/rpc never reconnects.

    Raises AddressError, FramingSpecError, SettingError, ConnectError, TLSHandshakeError.
    """
    return Client(read_arguments(to, framing, timeout, max_frame, **options))


class Client(HasTimeout):
    """One connection, for one thread at a time. Made by `connect`; a context manager.

    `close` may be called in any thread. Any other call raises UsageError while another thread is
    in one: a `Pool` is for many threads. It raises UsageError in a forked child too.

    Iterating yields messages until the peer ends the stream. If the server also sends messages
    without a request, pass ``match``, or use only `send` and `receive`: without ``match``,
    `request` takes the next message as its reply.
    """

    def __init__(self, arguments: ClientArguments) -> None:
        super().__init__(arguments.timeout)
        self._endpoint = arguments.endpoint
        self.peername: str = str(self._endpoint)
        self._reconnects: Reconnects | None = None
        if arguments.backoff is not None:
            self._reconnects = Reconnects(self.peername, arguments.backoff, time.monotonic)
        self._match = arguments.match
        self._received = Received(arguments.on_push)
        self._owner = Owner()
        self._lock = threading.RLock()
        self._call = Call(self._owner, self._lock)
        self._late = 0  # on earlier connections
        self._closed = False
        self._connection: SyncConnection = self._dial(self._deadline(...))

    @property
    def late_replies(self) -> int:
        """Replies that were dropped, with ``match``: their requests had been given up."""
        return self._late + self._connection.late

    @property
    def live(self) -> bool:
        """Is there a connection, as far as is known?"""
        return self._connection.live

    @property
    def replied(self) -> bool:
        """Has this connection brought a reply?"""
        return self._connection.replied

    @property
    def clean(self) -> bool:
        """Can another caller use the connection, without meeting a message that is left on it?"""
        return self._connection.clean

    @property
    def framing(self) -> Framing:
        """How messages are framed from here on: a spec, a Framing or a class of one may be
        assigned. It also decodes the bytes that came behind the last message that was taken.
        Raises FramingSpecError, and PhaseError while replies are still to come."""
        return self._endpoint.framing

    @framing.setter
    def framing(self, framing: AnyFraming) -> None:
        with self._call:
            chosen = framing_of(framing, self._endpoint.framing.max_frame)
            self._check_phase("framing")
            self._connection.reframe(chosen)
            self._endpoint = replace(self._endpoint, framing=chosen)

    def start_tls(
        self,
        tls: ssl.SSLContext | bool = True,
        *,
        server_hostname: str | None = None,
        timeout: Timeout = ...,
    ) -> None:
        """Begin TLS, after a reply that agrees to it. The arguments are those of `connect`.

        If more had come in plain behind that reply, it is refused: anyone could have added it. An
        error closes the connection. Raises TLSHandshakeError, SettingError, ConnectionClosed, and
        PhaseError with TLS in use or while replies are still to come.
        """
        with self._call:
            deadline = self._deadline(timeout)
            endpoint = with_tls(self._endpoint, tls, server_hostname)
            self._check_phase("start_tls")
            if self._connection.encrypted:
                raise PhaseError("start_tls: the connection has TLS already")
            self._ready(deadline).start_tls(endpoint, deadline)
            self._endpoint = endpoint

    def _check_phase(self, what: str) -> None:
        reconnects, waiting = self._reconnects is not None, self._connection.waiting
        check_phase(what, reconnects=reconnects, waiting=waiting)

    def alive(self) -> bool:
        """Is there a connection, as far as can be seen without waiting? Reads what has arrived."""
        with self._call:
            self._connection.notice_end()
            return self._connection.live

    def request(
        self, message: Buffer, *, idempotent: bool = False, timeout: Timeout = ...
    ) -> bytes:
        """Send ``message`` and return its reply, within ``timeout`` in all.

        Without ``match`` that is the next message received. So the server has to reply in order,
        and an error after bytes are sent closes the connection: a late reply would be taken for the
        reply to the next request. With ``match`` a request that times out leaves the connection
        open, and its late reply is dropped.

        Raises as `send` and `receive`, and UsageError for an identifier that is in use. If the
        client reconnects, an ``idempotent`` message is sent once more when the connection is lost.
        """
        with self._call:
            deadline = self._deadline(timeout)
            try:
                return self._ready(deadline).request(message, deadline)
            except (ConnectionClosed, FrameTruncated):
                if not idempotent or self._reconnects is None or self._closed:
                    raise
            return self._ready(deadline).request(message, deadline)

    def requests(
        self, messages: Iterable[Buffer], window: int = 64, *, timeout: Timeout = ...
    ) -> Iterator[bytes]:
        """Send ``messages`` and yield the reply to each, in their order.

        At most ``window`` messages are sent ahead of the replies taken. ``timeout`` limits the
        wait for each reply. Raises as `request`, but EncodeError only after the replies to the
        messages already sent. Stopping before the last reply closes the connection, unless
        replies are matched.
        """
        if type(window) is not int or window < 1:
            raise UsageError(f"window={window!r} must be a whole number, at least 1")
        self._limit_of(timeout)
        return self._pipeline(iter(messages), window, timeout)

    def _pipeline(
        self, messages: Iterator[Buffer], window: int, timeout: Timeout
    ) -> Iterator[bytes]:
        with self._call:
            connection = self._ready(self._deadline(timeout))
        with pipeline(connection, messages, window) as requests:
            while True:
                with self._call:
                    replies = requests.replies(lambda: self._deadline(timeout))
                if replies is None:
                    return
                yield from replies

    def send(self, message: Buffer, *, timeout: Timeout = ...) -> None:
        """Send one whole message.

        Raises EncodeError before a byte is sent, ConnectionClosed and ClientTimeout. After a
        ClientTimeout an unknown part of the message is sent, so the connection is closed. Replies
        are not read meanwhile: to send many messages before their replies, use `requests`. If
        sending fails, what the server had sent before is still there for `receive`.
        """
        with self._call:
            frame = self._endpoint.framing.encode(message)
            deadline = self._deadline(timeout)
            self._ready(deadline, sending=True).send(frame, deadline)

    def receive(self, *, timeout: Timeout = ...) -> bytes:
        """The next message that is not the reply to a `request`.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed if the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated if the stream ends
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: a new connection has
        no message to give.
        """
        with self._call:
            deadline = self._deadline(timeout)
            while not self._received:
                self._connection.read(deadline)
            return self._received.get()

    def end(self) -> None:
        """End the outgoing stream (half-close); replies can still be received.

        Raises ConnectionClosed, and UsageError for TLS: Python has no half-close for it.
        """
        with self._call:
            self._connection.end()

    def close(self) -> None:
        """Close for good; later calls raise ConnectionClosed.

        If messages were sent whose replies have not shown that they arrived, this ends the outgoing
        stream, and waits for the server's end up to the client's ``timeout``: a close with replies
        under way would be a reset, and the server would lose messages that it has not read yet
        (RFC 2525, 2.17). Raises ClientTimeout and ConnectionClosed if they may be lost.

        Leaving ``with`` closes too. With an error in the block it waits for 1 s at most, and raises
        that error.
        """
        self._close(self._limit)

    def _close(self, limit: float | None) -> None:
        if not self._owner.here:  # in a forked child: the connection is the parent's
            self._connection.release()
            return
        self._closed = True
        was_live = self._connection.live
        self._connection.stream.close("closed here")
        waiting = not self._lock.acquire(blocking=False)
        if waiting:
            self._connection.shut_down()  # wakes the thread that is in a call
            if not self._lock.acquire(timeout=-1 if limit is None else min(limit, LONGEST_WAIT)):
                return
        try:
            self._connection.close(limit, was_live=was_live and not waiting)
        finally:
            self._lock.release()

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
        if error is None:
            self.close()
            return
        try:
            self._close(after_error(self._limit))
        except (ClientTimeout, ConnectionClosed):  # the error of the block says more
            pass

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self._limit if timeout is ... else self._limit_of(timeout))

    def _dial(self, deadline: Deadline) -> SyncConnection:
        transport = dial(self._endpoint, deadline)
        return SyncConnection(transport, self._endpoint, self._match, self._received)

    def _ready(self, deadline: Deadline, *, sending: bool = False) -> SyncConnection:
        """A live connection. If the client does not reconnect, `send` may still use (``sending``)
        one whose peer has ended its stream: the peer may still read."""
        connection = self._connection
        if connection.pipelining:
            raise UsageError(
                "replies of requests() are still to come; take them, or close the iterator, first"
            )
        if self._reconnects is not None and not self._closed:
            connection.notice_end()
            connection = self._connection  # on_push may have connected again
            if not connection.live:
                connection = self._reconnect(self._reconnects, deadline)
        elif connection.stream.fault is not None and (self._closed or not sending):
            raise connection.stream.fault()
        connection.check_sending()
        return connection

    def _reconnect(self, reconnects: Reconnects, deadline: Deadline) -> SyncConnection:
        lost = self._connection
        lost.abort("")  # after the peer's end it is still open
        reconnects.lost(replied=lost.replied)
        for wait in reconnects.waits(deadline.at):
            time.sleep(wait)
            self._check_open()
            with reconnects.attempt():
                self._connection = self._dial(deadline)
                self._late += lost.late
                break
        if self._closed:
            self._connection.abort("closed here")
        self._check_open()
        return self._connection

    def _check_open(self) -> None:
        """Another thread may have closed the client while this one was connecting."""
        if self._closed:
            raise closed_here(self.peername)
