"""One connection of an AsyncClient: sends frames, and gives each reply to its request."""

from __future__ import annotations

import asyncio
import select
from collections import deque

from epollo.client.asynchronous.message_queue import MessageQueue
from epollo.client.asynchronous.reply_deadlines import Reply, ReplyDeadlines
from epollo.client.endpoint import Endpoint
from epollo.client.match import Match
from epollo.client.outstanding import OutstandingById, TooManyOverdue
from epollo.client.received import MAX_UNRECEIVED
from epollo.client.stream import Stream
from epollo.client.transport import CLOSE_NOTIFY_TIMEOUT, Transport
from epollo.client.wording import (
    ENDED,
    OVERDUE,
    UNRECEIVED,
    broken_at_close,
    cut_at_close,
    not_ended,
)
from epollo.errors import ClientTimeout, ConnectionClosed, PhaseError, UsageError
from epollo.framing import Buffer, Framing

_BATCH = 64 << 10  # bytes; as many are sent without waiting for the end of the loop's iteration

_READ_AT_ONCE = 256 << 10  # bytes; after as many the loop has its turn

_HIGH_WATER = 64 << 10  # unsent bytes over which callers wait; the same marks as asyncio's
_LOW_WATER = 16 << 10

_REFRAMED_WITHIN = 1.0  # seconds, behind a reply, if what follows it is not of its framing


class AsyncConnection:
    """One connection, whose socket the event loop watches.

    Frames written in one iteration of the loop are sent together. Without ``match`` each message
    received is the reply to the oldest open request; if no request is open, the message goes to the
    queue. The reply to a cancelled request is received and dropped, so that later requests get
    their own.
    """

    def __init__(
        self, transport: Transport, endpoint: Endpoint, match: Match | None, queue: MessageQueue
    ) -> None:
        self.stream: Stream = Stream(endpoint)
        self.replied: bool = False  # has it brought a reply?
        self.owed: bool = False  # was a message sent without a reply that shows its arrival?
        self.by_id: OutstandingById[Reply] | None = None
        if match is not None:
            self.by_id = OutstandingById(match)
        self._encode = endpoint.framing.encode
        self._name = str(endpoint)
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._fd = transport.fileno()
        self._queue = queue
        self._in_order: deque[Reply] = deque()
        self._deadlines = ReplyDeadlines(self._name, self._in_order, self._on_late)
        self._unsent = bytearray()
        self._flush_queued = False
        self._ready_queued = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False  # by `end`
        self._end_due = False  # once the bytes before it are sent
        self._reading = True
        self._read_events = select.POLLIN  # poll(2) events to read at
        self._send_events = 0  # and to send at
        self._watched = 0
        self._finished: asyncio.Future[None] | None = None  # the end of an orderly close
        self._cut = False  # was the socket closed before it?
        self._close_error: OSError | None = None
        self._late = 0
        self._watch(select.POLLIN)

    @property
    def live(self) -> bool:
        return self.stream.fault is None

    @property
    def writable(self) -> bool:
        return self._writable.is_set()

    @property
    def open_requests(self) -> int:
        """Requests whose replies may still come."""
        return len(self._in_order) if self.by_id is None else len(self.by_id)

    @property
    def late(self) -> int:
        """Replies that were dropped: their requests had been given up."""
        return self._late if self.by_id is None else self.by_id.late

    def request(self, message: Buffer, deadline: float | None) -> Reply:
        """Send ``message``, and return the future of its reply. Raises EncodeError, and UsageError
        for an identifier that is in use."""
        if self._ended:
            self.check_sending()
        reply: Reply = self._loop.create_future()
        if self.by_id is None:
            frame = self._encode(message)
            self._in_order.append(reply)
        else:
            try:
                identifier, stamped = self.by_id.prepare(bytes(message))
            except TooManyOverdue:
                self.abort(OVERDUE)
                assert self.stream.fault is not None
                raise self.stream.fault() from None
            frame = self._encode(stamped)
            self.by_id.add(identifier, reply)
        if deadline is not None:
            self._deadlines.add(reply, deadline)
        self.write(frame)
        if not self._reading:
            self.update_reading()
        return reply

    def reframe(self, framing: Framing) -> None:
        """Decode and encode by ``framing`` from now on. Raises PhaseError."""
        messages = self.stream.reframe(framing, len(self._queue))
        self._encode = framing.encode
        self._queue.clear()
        self._queue.put_all(messages)
        self._queue.wake()
        if not self.live:
            self.abort("")
        else:
            self.update_reading()

    def give_up_transport(self) -> Transport:
        """The connection goes on, with TLS, as another one: its transport. Raises PhaseError while
        something is unsent."""
        self.flush()
        if self._unsent:
            raise PhaseError("start_tls: messages before it are unsent; wait for a reply to them")
        self.stream.close("TLS is beginning")
        self._stop_watching()
        return self._transport

    def check_sending(self) -> None:
        """Raises UsageError after `end`."""
        if self._ended:
            raise UsageError(ENDED)

    def write(self, frame: bytes) -> None:
        """Send ``frame`` together with the others of this iteration of the loop."""
        self._unsent += frame
        if len(self._unsent) >= _BATCH:
            self.flush()
        elif not self._flush_queued:
            self._flush_queued = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the kernel takes of the written frames."""
        self._flush_queued = False
        if self._finished is not None or self._fd < 0:
            return
        self._send()
        self._update_watch()

    async def drain(self, deadline: float | None) -> None:
        """Wait until few bytes are unsent, or the connection has ended. Raises TimeoutError."""
        if not self.writable:
            async with asyncio.timeout_at(deadline):
                await self._writable.wait()

    def notice_end(self) -> None:
        """If the connection is idle, receive what has come: perhaps its end, before a message is
        sent in vain."""
        if not (self.open_requests or self._unsent) and self._reading:
            self._on_ready()

    def update_reading(self) -> None:
        """Pause reading while the queue is full and no request waits; resume it otherwise."""
        reading = self.live and (not self._queue.full or self._waited_for())
        if reading is not self._reading:
            self._reading = reading
            self._update_watch()
            if reading and self._transport.encrypted:  # OpenSSL may hold bytes: no event for them
                self._be_ready_soon()

    def _waited_for(self) -> bool:
        """Is a reply due that keeps the queue from growing, or that a caller waits for? With
        ``match`` the replies of requests that were given up may never come."""
        return bool(self._in_order) if self.by_id is None else self.by_id.waited_for()

    def end(self) -> None:
        """End the outgoing stream. Raises UsageError for TLS: Python has no half-close for it."""
        if self._transport.encrypted:
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        if not self._ended:
            self._ended = self._end_due = True
            self.flush()

    def abort(self, why: str) -> None:
        """Close at once: open requests fail, and unsent bytes are dropped."""
        self.stream.close(why)
        self._fail()
        if self._fd >= 0:
            self._stop_watching()
            self._transport.abort()
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)

    async def close(self, timeout: float | None) -> None:
        """Send the unsent bytes, end the stream and close. If replies are due, wait for the peer's
        end first: see `Client.close`. Raises ClientTimeout and ConnectionClosed if messages that
        were sent may be lost."""
        unanswered = self.owed or bool(self._in_order or self.by_id)
        self.owed = owed = unanswered or bool(self._unsent)  # also for a second task that closes
        was_live = self.live
        self.stream.close("closed here")
        self._fail()
        if self._fd < 0:
            return
        if self._finished is None:
            self._begin_finish()
        assert self._finished is not None
        limit = timeout if owed else CLOSE_NOTIFY_TIMEOUT if self._transport.encrypted else 0.0
        try:
            if limit != 0.0:
                await asyncio.wait([self._finished], timeout=limit)
            late, unsent = not self._finished.done(), bool(self._unsent or self._transport.unsent())
        finally:
            if self._fd >= 0:
                self._stop_watching()
                (self._transport.abort if owed else self._transport.release)()
            if not self._finished.done():
                self._cut = True
                self._finished.set_result(None)  # for a second task
        if late and owed:
            raise ClientTimeout(not_ended(self._name, timeout, unsent=unsent))
        if self._cut and owed:
            raise ConnectionClosed(cut_at_close(self._name))
        if self._close_error is not None and unanswered and was_live:
            raise ConnectionClosed(broken_at_close(self._name, self._close_error))

    # The socket.

    def _on_ready(self) -> None:
        """The socket can be read or written."""
        if self._fd < 0:
            return
        if self._finished is not None:
            self._finish()
            return
        try:
            if self._unsent:
                self._send()
            if self._reading:
                self._receive()
        except BaseException:  # of a signal handler, or of the loop's exception handler
            if self._transport.taking:
                self.abort("a receive was interrupted, and bytes were lost")
            raise
        self._update_watch()

    def _be_ready_soon(self) -> None:
        """Have `_on_ready` called in the next iteration of the loop, without an event."""
        if not self._ready_queued:
            self._ready_queued = True
            self._loop.call_soon(self._on_queued)

    def _on_queued(self) -> None:
        self._ready_queued = False
        self._on_ready()

    def _send(self) -> None:
        self._transport.send_some(self._unsent)
        self._send_events = self._transport.events if self._unsent else 0
        self._transport.events = 0
        if len(self._unsent) > _HIGH_WATER and self.live:
            self._writable.clear()
        elif len(self._unsent) <= _LOW_WATER:
            self._writable.set()
        if self._transport.failed:  # then the end of the incoming stream is near: read up to it
            self._reading = True
            self._be_ready_soon()  # for some failures there is no event
        elif self._end_due and not self._unsent:
            self._end_due = False
            self._end_stream()

    def _end_stream(self) -> None:
        try:
            self._transport.end()
        except OSError as error:
            self._transport.fail(error)

    def _receive(self) -> None:
        """Read, and handle what was read. OpenSSL keeps bytes that it has read already, for which
        there is no event: with TLS read until there is no more, or go on in the next iteration."""
        left = _READ_AT_ONCE
        while self._reading and self._fd >= 0 and self._finished is None:
            try:
                data = self._transport.receive_now()
            except OSError as error:
                self._transport.taken()
                self.stream.broken(error)
                self.abort("")
                return
            if data is None:
                break
            self._feed(data)
            if not self._transport.encrypted:
                break
            left -= len(data)
            if left <= 0:
                self._be_ready_soon()
                break
        self._read_events = self._transport.events or select.POLLIN
        self._transport.events = 0

    def _feed(self, data: bytes) -> None:
        if not data:
            self._transport.taken()
            self.stream.end()
            self._fail()
            self._begin_finish()
            return
        self._deliver(self.stream.feed(data))
        if not self.open_requests:  # keep no reply that was taken
            self._deadlines.forget()
        self._transport.taken()
        if self._queue.on_push is not None:
            self._push()
        if not self.live and self.stream.may_be_reframed and not self.open_requests:
            self._reading = False
            self._queue.wake()
            self._loop.call_later(_REFRAMED_WITHIN, self._abort_faulty, self.stream.fault)
        elif not self.live:
            self.abort("")
        elif self._queue.size > MAX_UNRECEIVED and self._waited_for():
            self.abort(UNRECEIVED)
        else:
            self.update_reading()

    def _abort_faulty(self, fault: object) -> None:
        """The framing has not changed in time, so the fault in the stream is one."""
        if self.stream.fault is fault and self._finished is None:
            self.abort("")

    def _deliver(self, messages: list[bytes]) -> None:
        """Give messages to their requests, and those without a request to the queue."""
        self.replied = self.replied or bool(messages and self.open_requests)
        if self.by_id is not None:
            before = self._queue.size
            try:
                self.by_id.deliver(messages, self._queue.put)
            except Exception as error:
                self.stream.match_failed(error)
            if self._queue.size != before:
                self._queue.wake()
            return
        replied = min(len(messages), len(self._in_order))
        for message in messages[:replied]:
            reply = self._in_order.popleft()
            if reply.done():
                self._late += 1
            else:
                reply.set_result(message)
        if replied < len(messages):
            self._queue.put_all(messages[replied:])
            self._queue.wake()

    def _push(self) -> None:
        while self._queue:
            try:
                self._queue.push()
            except Exception as error:
                self._loop.call_exception_handler(
                    {"message": f"on_push of a client of {self._name} failed", "exception": error}
                )

    def _begin_finish(self) -> None:
        """Begin an orderly close."""
        self._finished = self._loop.create_future()
        self._finish()

    def _finish(self) -> None:
        assert self._finished is not None
        try:
            done = self._transport.finish(self._unsent)
        except OSError as error:
            self._close_error = error
            self._stop_watching()
            self._transport.abort()
            done = True
        self._transport.taken()
        if not done:
            self._watch(self._transport.events)
            self._transport.events = 0
            return
        if self._fd >= 0:
            self._stop_watching()
            self._transport.release()
        self._finished.set_result(None)

    def _update_watch(self) -> None:
        if self._finished is None and self._fd >= 0:
            self._watch(self._send_events | (self._read_events if self._reading else 0))

    def _stop_watching(self) -> None:
        self._watch(0)
        self._fd = -1

    def _watch(self, events: int) -> None:
        """Have the loop call `_on_ready` for these poll(2) events only."""
        changed = events ^ self._watched
        self._watched = events
        if changed & select.POLLIN:
            if events & select.POLLIN:
                self._loop.add_reader(self._fd, self._on_ready)
            else:
                self._loop.remove_reader(self._fd)
        if changed & select.POLLOUT:
            if events & select.POLLOUT:
                self._loop.add_writer(self._fd, self._on_ready)
            else:
                self._loop.remove_writer(self._fd)

    # The end.

    def _on_late(self) -> None:
        """A reply is late. Without ``match`` close: later replies cannot come before it, and a dead
        connection may never report an error."""
        if self.by_id is None:
            self.abort("a request had no reply")

    def _fail(self) -> None:
        """Pass the connection's error to everything that waits for it."""
        assert self.stream.fault is not None
        replies = list(self._in_order) if self.by_id is None else self.by_id.replies()
        self._in_order.clear()
        if self.by_id is not None:
            self.by_id.clear()
        for reply in replies:
            if not reply.done():
                reply.set_exception(self.stream.fault())
        self._deadlines.clear()
        self._writable.set()
        self._queue.wake()
