"""A blocking client of a framed server."""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
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
from epollo.client.backoff import Attempts
from epollo.client.forks import Owner
from epollo.client.outstanding import OutstandingById, TooManyOverdue
from epollo.client.phases import check_phase, plain_behind
from epollo.client.received import MAX_UNRECEIVED, Received
from epollo.client.stream import Stream
from epollo.client.sync_transport import DeadlinePassed, SyncTransport, dial, start_tls
from epollo.client.wording import ENDED, OVERDUE, UNRECEIVED, broken_at_close, not_ended, not_yet
from epollo.errors import (
    ClientTimeout,
    ConnectError,
    ConnectionClosed,
    EncodeError,
    FrameTruncated,
    PhaseError,
    StreamEnded,
    UsageError,
)
from epollo.framing import DEFAULT_MAX_FRAME, Buffer, Framing
from epollo.framing.reframing import framing_of

_CLOSE_NOTIFY_TIMEOUT = 1.0  # seconds to wait for it if no message is unanswered


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


class PendingReply:
    """The reply to one request, once it has come."""

    __slots__ = ("given_up", "message")

    def __init__(self) -> None:
        self.message: bytes | None = None
        self.given_up: bool = False

    def done(self) -> bool:
        return self.given_up or self.message is not None

    def set_result(self, message: bytes) -> None:
        self.message = message


class Client(HasTimeout):
    """One connection, for one thread at a time. Made by `connect`; a context manager.

    `close` may be called in any thread. Any other call raises UsageError while another thread is
    in one: a `Pool` is for many threads. It raises UsageError in a forked child too.

    Iterating yields messages until the peer ends the stream. If the server also sends messages
    without a request, pass ``match``, or use only `send` and `receive`: without ``match``,
    `request` takes the next message as its reply.
    """

    _transport: SyncTransport
    _stream: Stream

    def __init__(self, arguments: ClientArguments) -> None:
        super().__init__(arguments.timeout)
        self._endpoint = arguments.endpoint
        self._attempts: Attempts | None = None
        if arguments.backoff is not None:
            self._attempts = Attempts(arguments.backoff, time.monotonic)
        self._match = arguments.match
        self._by_id: OutstandingById[PendingReply] | None = None
        if arguments.match is not None:
            self._by_id = OutstandingById(arguments.match)
        self._received = Received(arguments.on_push)
        self._replies: deque[bytes] = deque()  # without match: to requests, in their order
        self._awaited = 0  # without match: replies that have not come
        self._owner = Owner()
        self._lock = threading.RLock()
        self._call = _Call(self._owner, self._lock)
        self._pipelining = False
        self._closed = False
        self._ended = False  # by `end`
        self._lost = False  # is the loss of the last connection counted?
        self._replied = False  # has this connection brought a reply?
        self._owed = False  # was a message sent without a reply that shows its arrival?
        self._failure: ConnectError | None = None
        self.peername: str = str(self._endpoint)
        self._open(self._deadline(...))

    @property
    def late_replies(self) -> int:
        """Replies that were dropped, with ``match``: their requests had been given up."""
        return 0 if self._by_id is None else self._by_id.late

    @property
    def live(self) -> bool:
        """Is there a connection, as far as is known?"""
        return self._stream.fault is None

    @property
    def replied(self) -> bool:
        """Has this connection brought a reply?"""
        return self._replied

    @property
    def clean(self) -> bool:
        """Can another caller use the connection, without meeting a message that is left on it?"""
        left = self._owed or self._pipelining or self._received or self._ended
        return self._stream.fault is None and not left

    @property
    def framing(self) -> Framing:
        """How messages are framed from here on: a spec, a Framing or a class of one may be
        assigned. It also decodes the bytes that came behind the last message that was taken.
        Raises FramingSpecError, and PhaseError while replies are still to come."""
        return self._endpoint.framing

    @framing.setter
    def framing(self, framing: str | Framing | type[Framing]) -> None:
        with self._call:
            chosen = framing_of(framing, self._endpoint.framing.max_frame)
            self._check_phase("framing")
            messages = self._stream.reframe(chosen, len(self._received))
            self._endpoint = replace(self._endpoint, framing=chosen)
            self._received.clear()
            self._received.put_all(messages)

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
            if self._transport.encrypted:
                raise PhaseError("start_tls: the connection has TLS already")
            self._make_ready(deadline)
            try:
                if error := plain_behind(self.peername, self._stream, len(self._received)):
                    raise error
                self._transport = start_tls(self._transport, endpoint, deadline)
            except BaseException:
                self._drop("TLS could not begin")
                raise
            self._endpoint = endpoint
            # A decoder of the user's may hold bytes that came in plain, and not tell.
            self._stream = Stream(endpoint)

    def _check_phase(self, what: str) -> None:
        waiting = self._pipelining or bool(self._awaited) or bool(self._by_id)
        check_phase(what, reconnects=self._attempts is not None, waiting=waiting)

    def alive(self) -> bool:
        """Is there a connection, as far as can be seen without waiting? Reads what has arrived."""
        with self._call:
            self._check_alive()
            return self._stream.fault is None

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
                return self._ask(message, deadline)
            except (ConnectionClosed, FrameTruncated):
                if not idempotent or self._attempts is None or self._closed:
                    raise
            return self._ask(message, deadline)

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
        if self._by_id is not None:
            return self._pipeline_by_id(self._by_id, iter(messages), window, timeout)
        return self._pipeline(iter(messages), window, timeout)

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
            self._make_ready(deadline, sending=True)
            self._owed = True
            try:
                self._send(frame, deadline)
            except OSError as error:
                if isinstance(error, ClientTimeout):
                    raise
                self._receive_rest()
                raise self._broken(error) from error

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
                self._read(deadline)
            return self._received.get()

    def end(self) -> None:
        """End the outgoing stream (half-close); replies can still be received.

        Raises ConnectionClosed, and UsageError for TLS: Python has no half-close for it.
        """
        with self._call:
            if self._stream.fault is not None:
                raise self._stream.fault()
            if not self._ended:
                try:
                    self._transport.end()
                except OSError as error:
                    self._receive_rest()
                    raise self._broken(error) from error
                self._ended = True

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
            self._transport.release()
            return
        self._closed = True
        open_until_now = self._stream.fault is None
        self._stream.close("closed here")
        waiting = not self._lock.acquire(blocking=False)
        if waiting:
            self._transport.shut_down()  # wakes the thread that is in a call
            if not self._lock.acquire(timeout=-1 if limit is None else min(limit, LONGEST_WAIT)):
                return
        try:
            self._close_transport(open_until_now and not waiting, limit)
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

    # The connection.

    def _deadline(self, timeout: Timeout) -> float | None:
        self._call_limit = limit = self._limit if timeout is ... else self._limit_of(timeout)
        return None if limit is None else time.monotonic() + limit

    def _open(self, deadline: float | None) -> None:
        self._transport = dial(self._endpoint, deadline)
        self._stream = Stream(self._endpoint)
        self._forget()
        self._replied = self._owed = False
        self._lost = self._ended = False

    def _make_ready(self, deadline: float | None, *, sending: bool = False) -> None:
        """Ensure that there is a connection. If the client does not reconnect, `send` may still
        use (``sending``) one whose peer has ended its stream: the peer may still read."""
        if self._pipelining:
            raise UsageError(
                "replies of requests() are still to come; take them, or close the iterator, first"
            )
        if self._attempts is not None and not self._closed:
            self._check_alive()
            if self._stream.fault is not None:
                self._reconnect(self._attempts, deadline)
        elif self._stream.fault is not None and (self._closed or not sending):
            raise self._stream.fault()
        if self._ended:
            raise UsageError(ENDED)

    def _check_alive(self) -> None:
        """Before sending, check whether the server has closed the connection (as urllib3 does)."""
        if self._stream.fault is None:
            try:
                data = self._transport.receive_now()
                if data is not None:
                    self._feed(data)
            except OSError as error:
                self._stream.broken(error)
            except BaseException:
                self._drop_if_taking()
                raise
            self._push()

    def _reconnect(self, attempts: Attempts, deadline: float | None) -> None:
        self._transport.abort()
        if not self._lost:
            self._lost = True
            attempts.ended(replied=self._replied)
        failure: ConnectError | None = None
        for wait in attempts.until(deadline):
            time.sleep(wait)
            attempts.begin()
            try:
                if not self._closed:
                    self._open(deadline)
            except ConnectError as error:
                self._failure = failure = error
                continue
            self._failure = None
            if self._closed:  # in another thread, meanwhile
                self._drop("closed here")
                raise ConnectionClosed(f"connection to {self.peername} is closed: closed here")
            return
        raise failure or not_yet(self.peername, self._failure, attempts)

    def _drop(self, why: str) -> None:
        """Close the connection; the client may open another."""
        self._stream.close(why)
        self._transport.abort()
        self._forget()

    def _forget(self) -> None:
        """Replies cannot come any more."""
        self._awaited = 0
        self._replies.clear()
        if self._by_id is not None:
            self._by_id.clear()

    def _broken(self, error: OSError) -> ConnectionClosed:
        """End the connection with ``error``; returns the error to raise."""
        self._stream.broken(error)
        return _end_of(self._stream)

    def _close_transport(self, open_until_now: bool, limit: float | None) -> None:
        if self._transport.fileno() < 0:
            return
        owed = self._owed or bool(self._awaited) or bool(self._by_id)
        self._forget()
        if not open_until_now and not owed:
            self._transport.abort()
            return
        if not owed:
            limit = _CLOSE_NOTIFY_TIMEOUT
        deadline = None if limit is None else time.monotonic() + limit
        try:
            self._transport.close(deadline, wait=owed or self._transport.encrypted)
        except DeadlinePassed as passed:
            if owed:
                raise ClientTimeout(not_ended(self.peername, limit, unsent=passed.unsent)) from None
        except OSError as error:
            if owed and open_until_now:
                raise ConnectionClosed(broken_at_close(self.peername, error)) from error

    # Requests and replies.

    def _ask(self, message: Buffer, deadline: float | None) -> bytes:
        if self._by_id is not None:
            self._make_ready(deadline)
            return self._ask_by_id(self._by_id, message, deadline)
        frame = self._endpoint.framing.encode(message)
        self._make_ready(deadline)
        try:
            self._awaited += 1
            unsent = self._send_request(frame)
            while not self._replies:
                self._read(deadline, unsent)
            if unsent:
                self._send_rest(unsent, deadline)
            self._replied = True
            return self._replies.popleft()
        except BaseException:
            self._drop("a request had no reply")
            raise

    def _ask_by_id(
        self, table: OutstandingById[PendingReply], message: Buffer, deadline: float | None
    ) -> bytes:
        reply = PendingReply()
        frame = self._add(table, message, reply)
        unsent = bytearray()
        stream = self._stream
        try:
            unsent = self._send_request(frame)
            while reply.message is None:
                if stream is not self._stream:  # on_push has connected again
                    raise _end_of(stream)
                self._read(deadline, unsent)
            if unsent:
                self._send_rest(unsent, deadline)
        except BaseException as error:
            reply.given_up = True
            if unsent:
                self._drop("a message was not sent whole")
                if isinstance(error, Exception):
                    self._push()
            raise
        self._replied = True
        return reply.message

    def _add(
        self, table: OutstandingById[PendingReply], message: Buffer, reply: PendingReply
    ) -> bytes:
        """Make ``message`` one of the outstanding requests; returns its frame."""
        try:
            identifier, stamped = table.prepare(bytes(message))
        except TooManyOverdue:
            self._drop(OVERDUE)
            assert self._stream.fault is not None
            raise self._stream.fault() from None
        frame = self._endpoint.framing.encode(stamped)
        table.add(identifier, reply)
        return frame

    def _pipeline(
        self, messages: Iterator[Buffer], window: int, timeout: Timeout
    ) -> Iterator[bytes]:
        with self._call:
            self._make_ready(self._deadline(timeout))
        unsent = bytearray()
        refused: EncodeError | None = None
        outstanding = 0
        self._pipelining = True
        try:
            while True:
                more = outstanding <= window // 2 and refused is None  # the peer has the others
                if more or not self._replies:
                    with self._call:
                        if more:
                            added, refused = self._pack(
                                islice(messages, window - outstanding), unsent
                            )
                            outstanding += added
                            self._awaited += added
                            self._transport.send_some(unsent)
                        if not outstanding:
                            break
                        self._read_reply(timeout, unsent)
                reply = self._replies.popleft()
                outstanding -= 1
                yield reply
        finally:
            self._pipelining = False
            if outstanding:
                self._drop("not all replies of requests() were taken")
        self._replied = True
        if refused is not None:
            raise refused

    def _read_reply(self, timeout: Timeout, unsent: bytearray) -> None:
        deadline = self._deadline(timeout)
        while not self._replies:
            self._read(deadline, unsent)

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

    def _pipeline_by_id(
        self,
        table: OutstandingById[PendingReply],
        messages: Iterator[Buffer],
        window: int,
        timeout: Timeout,
    ) -> Iterator[bytes]:
        with self._call:
            self._make_ready(self._deadline(timeout))
        unsent = bytearray()
        refused: EncodeError | UsageError | None = None
        replies: deque[PendingReply] = deque()
        self._pipelining = True
        try:
            while True:
                more = len(replies) <= window // 2 and refused is None
                if more or not replies or replies[0].message is None:
                    with self._call:
                        if more:
                            refused = self._pack_by_id(table, messages, window, unsent, replies)
                            self._transport.send_some(unsent)
                        if not replies:
                            break
                        deadline = self._deadline(timeout)
                        while replies[0].message is None:
                            self._read(deadline, unsent)
                message = replies.popleft().message
                assert message is not None
                yield message
        finally:
            self._pipelining = False
            for reply in replies:
                reply.given_up = True
            if unsent:
                self._drop("not all messages of requests() were sent")
        self._replied = True
        if refused is not None:
            raise refused

    def _pack_by_id(
        self,
        table: OutstandingById[PendingReply],
        messages: Iterator[Buffer],
        window: int,
        unsent: bytearray,
        replies: deque[PendingReply],
    ) -> EncodeError | UsageError | None:
        """Add frames to ``unsent`` until ``window`` replies are due; returns what stopped it."""
        try:
            for message in islice(messages, window - len(replies)):
                reply = PendingReply()
                unsent += self._add(table, message, reply)
                replies.append(reply)
        except (EncodeError, UsageError) as error:
            return error
        return None

    # Bytes.

    def _send_request(self, frame: bytes) -> bytearray:
        """Send what the kernel takes of ``frame``; returns the rest. A failure is raised only after
        what the server had sent before it: that may be the reply."""
        try:
            sent = self._transport.try_send(memoryview(frame))
        except OSError as error:
            self._transport.fail(error)
            return bytearray()
        except BaseException:
            self._drop("a message was not sent whole")
            raise
        return bytearray(memoryview(frame)[sent:])

    def _send(self, frame: bytes, deadline: float | None) -> None:
        """Raises OSError if sending fails."""
        try:
            self._transport.send(frame, deadline)
        except DeadlinePassed:
            raise self._not_taken() from None
        except OSError:
            raise
        except BaseException:  # KeyboardInterrupt, or an error of a signal handler
            self._drop("a message was not sent whole")
            raise

    def _send_rest(self, unsent: bytearray, deadline: float | None) -> None:
        """Send the rest of a request whose reply came before. A failure ends the connection, but is
        not raised: the caller gets the reply."""
        try:
            self._send(bytes(unsent), deadline)
        except OSError as error:
            if isinstance(error, ClientTimeout):
                raise
            self._receive_rest()
            self._broken(error)
        unsent.clear()
        self._push()

    def _not_taken(self) -> ClientTimeout:
        """Close, since an unknown part of a message is sent. Returns the error to raise."""
        self._drop("a message was not taken")
        return ClientTimeout(
            f"{self.peername} did not take the message within {self._call_limit:g} s"
        )

    def _read(self, deadline: float | None, unsent: bytearray | None = None) -> None:
        """Wait until ``deadline`` for bytes, and decode them. While a frame is not sent whole,
        on_push is not called: what it sent would be in the middle of that frame."""
        if self._stream.fault is None and self._received.size > MAX_UNRECEIVED:
            self._drop(UNRECEIVED)
        if self._stream.fault is not None:
            raise self._stream.fault()
        try:
            self._feed(self._transport.receive(deadline, unsent))
        except DeadlinePassed:
            if unsent:
                raise self._not_taken() from None
            raise ClientTimeout(
                f"no message from {self.peername} in {self._call_limit:g} s"
            ) from None
        except OSError as error:
            raise self._broken(error) from error
        except BaseException:
            self._drop_if_taking()
            raise
        if not unsent:
            self._push()

    def _push(self) -> None:
        """Call on_push, which may use the client: its calls have limits of their own."""
        if self._received.on_push is not None:
            limit = self._call_limit
            try:
                self._received.push()
            finally:
                self._call_limit = limit

    def _receive_rest(self) -> None:
        """Sending has failed: take what the server had sent before."""
        try:
            while self._received.size <= MAX_UNRECEIVED and (data := self._transport.receive_now()):
                self._feed(data)
        except OSError:
            pass
        except BaseException:
            self._drop_if_taking()
            raise

    def _drop_if_taking(self) -> None:
        """A signal handler has raised an error. If the kernel had given bytes away just then, they
        are lost, and so is the place in the stream."""
        if self._transport.taking:
            self._drop("a receive was interrupted, and bytes were lost")

    def _feed(self, data: bytes) -> None:
        if data:
            self._deliver(self._stream.feed(data))
        else:
            self._stream.end()
        self._transport.taken()

    def _deliver(self, messages: list[bytes]) -> None:
        if self._by_id is not None:
            try:
                self._by_id.deliver(messages, self._received.put)
            except Exception as error:
                self._stream.match_failed(error)
        elif self._awaited:
            replies = min(self._awaited, len(messages))
            self._awaited -= replies
            self._replies += messages[:replies]
            self._received.put_all(messages[replies:])
        else:
            self._received.put_all(messages)


def _end_of(stream: Stream) -> ConnectionClosed:
    """The error for the end of ``stream``."""
    assert stream.fault is not None
    fault = stream.fault()
    return fault if isinstance(fault, ConnectionClosed) else ConnectionClosed(str(fault))


class _Call:
    """Held during each call of a client. Raises UsageError in a second thread and in a forked
    child; a callback may use the client within a call."""

    __slots__ = ("_acquire", "_owner", "_release")

    def __init__(self, owner: Owner, lock: threading.RLock) -> None:
        self._owner = owner
        self._acquire = lock.acquire
        self._release = lock.release

    def __enter__(self) -> None:
        self._owner.check()
        if not self._acquire(blocking=False):
            raise UsageError(
                "the client is in use by another thread; give each thread its own, or use a Pool"
            )

    def __exit__(self, *_: object) -> None:
        self._release()
