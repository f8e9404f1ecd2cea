"""One connection of a Client: sends frames, and gives each reply to its request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from epollo.client.blocking.deadline import Deadline, DeadlinePassed
from epollo.client.blocking.dialing import start_tls
from epollo.client.blocking.transport import SyncTransport
from epollo.client.endpoint import Endpoint
from epollo.client.match import Match
from epollo.client.outstanding import OutstandingById, TooManyOverdue
from epollo.client.phases import plain_behind
from epollo.client.received import MAX_UNRECEIVED, Received
from epollo.client.stream import Stream
from epollo.client.transport import CLOSE_NOTIFY_TIMEOUT
from epollo.client.wording import ENDED, OVERDUE, UNRECEIVED, broken_at_close, not_ended
from epollo.errors import ClientTimeout, ConnectionClosed, TLSHandshakeError, UsageError
from epollo.framing import Buffer, Framing


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


class SyncConnection:
    """One connection, for whose socket the calling thread waits.

    Without ``match`` each message received is the reply to the oldest request without one; if there
    is none, the message goes to ``received``.
    """

    def __init__(
        self, transport: SyncTransport, endpoint: Endpoint, match: Match | None, received: Received
    ) -> None:
        self.stream: Stream = Stream(endpoint)
        self.replied: bool = False  # has it brought a reply?
        self.owed: bool = False  # was a message sent without a reply that shows its arrival?
        self.pipelining: bool = False  # are replies of `Client.requests` still to come?
        self.by_id: OutstandingById[PendingReply] | None = None
        if match is not None:
            self.by_id = OutstandingById(match)
        self.replies: deque[bytes] = deque()  # without match: to requests, in their order
        self.awaited: int = 0  # without match: replies that have not come
        self.encode: Callable[[Buffer], bytes] = endpoint.framing.encode
        self._name = str(endpoint)
        self._transport = transport
        self._received = received
        self._ended = False  # by `end`

    @property
    def live(self) -> bool:
        return self.stream.fault is None

    @property
    def encrypted(self) -> bool:
        return self._transport.encrypted

    @property
    def clean(self) -> bool:
        """Can another caller use it, without meeting a message that is left on it?"""
        left = self.owed or self.pipelining or self._received or self._ended
        return self.stream.fault is None and not left

    @property
    def waiting(self) -> bool:
        """Are replies still to come?"""
        return self.pipelining or bool(self.awaited) or bool(self.by_id)

    @property
    def late(self) -> int:
        """Replies that were dropped: their requests had been given up."""
        return 0 if self.by_id is None else self.by_id.late

    def request(self, message: Buffer, deadline: Deadline) -> bytes:
        """Send ``message``, and return its reply. Raises EncodeError, and UsageError for an
        identifier that is in use."""
        if self.by_id is not None:
            return self._request_by_id(self.by_id, message, deadline)
        frame = self.encode(message)
        try:
            self.awaited += 1
            unsent = self._send_now(frame)
            while not self.replies:
                self.read(deadline, unsent)
            if unsent:
                self.send_rest(unsent, deadline)
            self.replied = True
            return self.replies.popleft()
        except BaseException:
            self.abort("a request had no reply")
            raise

    def _request_by_id(
        self, table: OutstandingById[PendingReply], message: Buffer, deadline: Deadline
    ) -> bytes:
        reply = PendingReply()
        frame = self.add_by_id(table, message, reply)
        unsent = bytearray()
        try:
            unsent = self._send_now(frame)
            while reply.message is None:
                self.read(deadline, unsent)
            if unsent:
                self.send_rest(unsent, deadline)
        except BaseException as error:
            reply.given_up = True
            if unsent:
                self.abort("a message was not sent whole")
                if isinstance(error, Exception):
                    self._received.push()
            raise
        self.replied = True
        return reply.message

    def add_by_id(
        self, table: OutstandingById[PendingReply], message: Buffer, reply: PendingReply
    ) -> bytes:
        """Make ``message`` one of the requests without a reply; returns its frame."""
        try:
            identifier, stamped = table.prepare(bytes(message))
        except TooManyOverdue:
            self.abort(OVERDUE)
            assert self.stream.fault is not None
            raise self.stream.fault() from None
        frame = self.encode(stamped)
        table.add(identifier, reply)
        return frame

    def reframe(self, framing: Framing) -> None:
        """Decode and encode by ``framing`` from now on. Raises PhaseError."""
        messages = self.stream.reframe(framing, len(self._received))
        self.encode = framing.encode
        self._received.clear()
        self._received.put_all(messages)

    def start_tls(self, endpoint: Endpoint, deadline: Deadline) -> None:
        """Go on with TLS. An error closes the connection. Raises TLSHandshakeError, and
        ConnectionClosed if another thread closes it meanwhile."""
        plain = self.stream
        try:
            if error := plain_behind(self._name, plain, len(self._received)):
                raise error
            start_tls(self._transport, endpoint, deadline)
            if plain.fault is not None:
                raise plain.fault()
        except BaseException as error:
            closed = plain.fault
            self.abort("TLS could not begin")
            if closed is not None and isinstance(error, TLSHandshakeError):
                raise closed() from error
            raise
        # A decoder of the user's may hold bytes that came in plain, and not tell.
        self.stream = Stream(endpoint)

    def notice_end(self) -> None:
        """Receive what has come: perhaps its end, before a message is sent in vain (as urllib3
        does)."""
        if self.stream.fault is None:
            try:
                data = self._transport.receive_now()
                if data is not None:
                    self._feed(data)
            except OSError as error:
                self.stream.broken(error)
            except BaseException:
                self._abort_if_taking()
                raise
            self._received.push()

    def check_sending(self) -> None:
        """Raises UsageError after `end`."""
        if self._ended:
            raise UsageError(ENDED)

    def end(self) -> None:
        """End the outgoing stream. Raises ConnectionClosed, and UsageError for TLS."""
        if self.stream.fault is not None:
            raise self.stream.fault()
        if not self._ended:
            try:
                self._transport.end()
            except OSError as error:
                raise self._not_sent(error) from error
            self._ended = True

    def abort(self, why: str) -> None:
        """Close at once; replies cannot come any more."""
        self.stream.close(why)
        self._transport.abort()
        self._forget_requests()

    def shut_down(self) -> None:
        """Wake the thread that waits for the socket. In any thread."""
        self._transport.shut_down()

    def release(self) -> None:
        """Close the descriptor only, in a forked child."""
        self._transport.release()

    def close(self, limit: float | None, *, was_live: bool) -> None:
        """End the outgoing stream and close. If replies are due, wait for the peer's end first: see
        `Client.close`. ``was_live``: it was, until the caller closed the stream. Raises
        ClientTimeout and ConnectionClosed if messages that were sent may be lost."""
        if self._transport.fileno() < 0:
            return
        owed = self.owed or bool(self.awaited) or bool(self.by_id)
        self._forget_requests()
        if not was_live and not owed:
            self._transport.abort()
            return
        deadline = Deadline(limit if owed else CLOSE_NOTIFY_TIMEOUT)
        try:
            self._transport.close(deadline, wait=owed or self._transport.encrypted)
        except DeadlinePassed as passed:
            if owed:
                raise ClientTimeout(not_ended(self._name, limit, unsent=passed.unsent)) from None
        except OSError as error:
            if owed and was_live:
                raise ConnectionClosed(broken_at_close(self._name, error)) from error

    def _forget_requests(self) -> None:
        self.awaited = 0
        self.replies.clear()
        if self.by_id is not None:
            self.by_id.clear()

    # Sending.

    def send(self, frame: bytes, deadline: Deadline) -> None:
        """Send all of ``frame``. Raises ConnectionClosed and ClientTimeout."""
        self.owed = True
        try:
            self._send(frame, deadline)
        except ClientTimeout:
            raise
        except OSError as error:
            raise self._not_sent(error) from error

    def send_some(self, unsent: bytearray) -> None:
        """Send what the kernel takes of ``unsent``, and remove it from there."""
        self._transport.send_some(unsent)

    def _send_now(self, frame: bytes) -> bytearray:
        """Send what the kernel takes of ``frame``; returns the rest. A failure is raised only after
        what the server had sent before it: that may be the reply."""
        try:
            sent = self._transport.try_send(memoryview(frame))
        except OSError as error:
            self._transport.fail(error)
            return bytearray()
        except BaseException:
            self.abort("a message was not sent whole")
            raise
        return bytearray(memoryview(frame)[sent:])

    def _send(self, frame: bytes, deadline: Deadline) -> None:
        """Raises OSError if sending fails."""
        try:
            self._transport.send(frame, deadline)
        except DeadlinePassed:
            raise self._not_taken(deadline) from None
        except OSError:
            raise
        except BaseException:  # KeyboardInterrupt, or an error of a signal handler
            self.abort("a message was not sent whole")
            raise

    def send_rest(self, unsent: bytearray, deadline: Deadline) -> None:
        """Send the rest of a request whose reply came before. A failure ends the connection, but is
        not raised: the caller gets the reply."""
        try:
            self._send(bytes(unsent), deadline)
        except ClientTimeout:
            raise
        except OSError as error:
            self._not_sent(error)
        unsent.clear()
        self._received.push()

    def _not_taken(self, deadline: Deadline) -> ClientTimeout:
        """Close, since an unknown part of a message is sent. Returns the error to raise."""
        self.abort("a message was not taken")
        return ClientTimeout(f"{self._name} did not take the message within {deadline.limit:g} s")

    def _not_sent(self, error: OSError) -> ConnectionClosed:
        """Sending has failed: take what the server had sent before, and end the connection. Returns
        the error to raise."""
        self._receive_rest()
        return self._broken(error)

    # Receiving.

    def read(self, deadline: Deadline, unsent: bytearray | None = None) -> None:
        """Wait until ``deadline`` for bytes, and decode them. While a frame is not sent whole,
        on_push is not called: what it sent would be in the middle of that frame."""
        if self.stream.fault is None and self._received.size > MAX_UNRECEIVED:
            self.abort(UNRECEIVED)
        if self.stream.fault is not None:
            raise self.stream.fault()
        try:
            self._feed(self._transport.receive(deadline, unsent))
        except DeadlinePassed:
            if unsent:
                raise self._not_taken(deadline) from None
            raise ClientTimeout(f"no message from {self._name} in {deadline.limit:g} s") from None
        except OSError as error:
            raise self._broken(error) from error
        except BaseException:
            self._abort_if_taking()
            raise
        if not unsent:
            self._received.push()

    def _receive_rest(self) -> None:
        try:
            while self._received.size <= MAX_UNRECEIVED and (data := self._transport.receive_now()):
                self._feed(data)
        except OSError:
            pass
        except BaseException:
            self._abort_if_taking()
            raise

    def _broken(self, error: OSError) -> ConnectionClosed:
        """End the connection with ``error``; returns the error to raise."""
        self.stream.broken(error)
        assert self.stream.fault is not None
        fault = self.stream.fault()
        return fault if isinstance(fault, ConnectionClosed) else ConnectionClosed(str(fault))

    def _abort_if_taking(self) -> None:
        """A signal handler has raised an error. If the kernel had given bytes away just then, they
        are lost, and so is the place in the stream."""
        if self._transport.taking:
            self.abort("a receive was interrupted, and bytes were lost")

    def _feed(self, data: bytes) -> None:
        if data:
            self._deliver(self.stream.feed(data))
        else:
            self.stream.end()
        self._transport.taken()

    def _deliver(self, messages: list[bytes]) -> None:
        """Give messages to their requests, and those without a request to ``received``."""
        if self.by_id is not None:
            try:
                self.by_id.deliver(messages, self._received.put)
            except Exception as error:
                self.stream.match_failed(error)
        elif self.awaited:
            replies = min(self.awaited, len(messages))
            self.awaited -= replies
            self.replies += messages[:replies]
            self._received.put_all(messages[replies:])
        else:
            self._received.put_all(messages)
