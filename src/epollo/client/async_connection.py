"""One connection of an AsyncClient: sends frames, and gives each reply to its request."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TypeAlias, cast

from epollo.client.endpoint import Endpoint
from epollo.client.message_queue import MessageQueue
from epollo.client.stream import Stream
from epollo.errors import ClientTimeout, UsageError

_BATCH = 64 << 10  # bytes; as many are sent without waiting for the end of the loop's iteration

_ABORT_TIMEOUT = 1.0  # seconds; an aborted transport is closed in the next iteration of the loop

Reply: TypeAlias = asyncio.Future[bytes]


class AsyncConnection(asyncio.Protocol):
    """An asyncio.Protocol for one connection.

    Frames written in one iteration of the loop are sent together. Each message received is the
    reply to the oldest open request; if no request is open, the message goes to the queue. The
    reply to a cancelled request is received and dropped, so that later requests get their own.
    """

    def __init__(self, endpoint: Endpoint, queue: MessageQueue) -> None:
        self.stream: Stream = Stream(endpoint)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._name = str(endpoint)
        self._queue = queue
        self._open: deque[tuple[Reply, float | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True

    @property
    def live(self) -> bool:
        return self.stream.fault is None

    @property
    def writable(self) -> bool:
        return self._writable.is_set()

    def request(self, frame: bytes, deadline: float | None) -> Reply:
        """Send ``frame``, and return the future of its reply."""
        reply: Reply = self._loop.create_future()
        self._open.append((reply, deadline))
        self._set_timer(deadline)
        self.write(frame)
        if not self._reading:
            self.update_reading()
        return reply

    def write(self, frame: bytes) -> None:
        """Send ``frame`` together with the others of this iteration of the loop."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(frame)
        self._unsent_size += len(frame)
        if self._unsent_size >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Pass the written frames to the transport."""
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_size = 0

    async def drain(self, deadline: float | None) -> None:
        """Wait until the transport's buffer has drained, or the connection has ended. Raises
        TimeoutError."""
        if not self.writable:
            async with asyncio.timeout_at(deadline):
                await self._writable.wait()

    def update_reading(self) -> None:
        """Pause reading while the queue is full and no request is open; resume it otherwise."""
        reading = bool(self._open) or not self._queue.full
        if reading is not self._reading and self.live:
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def end(self) -> None:
        """End the outgoing stream. Raises UsageError for TLS: asyncio has no half-close for it."""
        if not self._transport.can_write_eof():
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        self.flush()
        self._transport.write_eof()

    def abort(self, why: str) -> None:
        """Close at once: open requests fail, and unsent bytes are dropped."""
        self.stream.close(why)
        self._fail()
        self._transport.abort()

    async def close(self, timeout: float | None) -> None:
        """Send the unsent bytes, and close. Raises ClientTimeout if the peer does not take them."""
        self.flush()
        self.stream.close("closed here")
        self._fail()
        unsent = 0
        try:
            self._transport.close()
            await asyncio.wait([self.closed], timeout=timeout)
        finally:
            if not self.closed.done():
                unsent = self._transport.get_write_buffer_size()
                self._transport.abort()
        await asyncio.wait([self.closed], timeout=_ABORT_TIMEOUT)
        if unsent:
            raise ClientTimeout(f"{self._name} did not take what was sent within {timeout:g} s")

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        messages = self.stream.feed(data)
        replied = min(len(messages), len(self._open))
        for message in messages[:replied]:
            reply, _ = self._open.popleft()
            if not reply.done():
                reply.set_result(message)
        if replied < len(messages):
            self._queue.put(messages[replied:])
        if self.stream.fault is not None:
            self.abort("")
        elif not self._open:
            self.update_reading()

    def eof_received(self) -> None:
        encrypted = self._transport.get_extra_info("ssl_object")
        if encrypted is None or _got_close_notify(encrypted):
            self.stream.end()
        else:
            self.stream.broken(ssl.SSLEOFError())
        self._fail()

    def connection_lost(self, error: Exception | None) -> None:
        # None if this side closed; also from uvloop if TLS ends without close_notify.
        self.stream.broken(error or ssl.SSLEOFError())
        self._fail()
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        if self.live:
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _set_timer(self, deadline: float | None) -> None:
        """Set the one timer of all requests to the earliest deadline."""
        if deadline is None or (self._timer and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._expire)
        self._timer_at = deadline

    def _expire(self) -> None:
        self._timer = None
        deadlines = [deadline for _, deadline in self._open if deadline is not None]
        if deadlines and min(deadlines) <= self._loop.time():
            self._give_up()
        elif deadlines:
            self._set_timer(min(deadlines))

    def _give_up(self) -> None:
        """Close, since a reply is late: later replies cannot come before it, and a dead connection
        may never report an error."""
        now = self._loop.time()
        for reply, deadline in self._open:
            if deadline is not None and deadline <= now and not reply.done():
                reply.set_exception(ClientTimeout(f"no reply from {self._name} in time"))
        self.abort("a request had no reply")

    def _fail(self) -> None:
        """Pass the connection's error to everything that waits for it."""
        assert self.stream.fault is not None
        for reply, _ in self._open:
            if not reply.done():
                reply.set_exception(self.stream.fault())
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writable.set()
        self._queue.wake()


def _got_close_notify(encrypted: ssl.SSLObject) -> bool:
    """Did the peer send close_notify? asyncio does not say, but OpenSSL does: then a read finds the
    end of the stream; otherwise it wants more bytes."""
    try:
        return not encrypted.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False
