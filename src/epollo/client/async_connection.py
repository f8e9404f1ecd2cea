"""One connection of an AsyncClient: frames out, and each reply to the request that it answers."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TypeAlias, cast

from epollo.client.endpoint import Endpoint
from epollo.client.message_queue import MessageQueue
from epollo.client.stream import Stream
from epollo.errors import ClientTimeout, UsageError

_BATCH = 64 << 10  # bytes that are sent at once even in the middle of a turn of the loop

_ABORTED = 1.0  # seconds; what is aborted is closed in the next turn of the loop

Reply: TypeAlias = asyncio.Future[bytes]


class AsyncConnection(asyncio.Protocol):
    """A protocol of asyncio's, for one connection.

    Frames written in one turn of the loop are one send. Each message that comes is the reply to
    the oldest open request; where none is open it goes to the queue. The reply to a request that
    was cancelled is received in its turn and dropped, so the others keep theirs.
    """

    def __init__(self, endpoint: Endpoint, queue: MessageQueue) -> None:
        self.stream = Stream(endpoint)
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
        """Send ``frame``; what its reply will be."""
        reply: Reply = self._loop.create_future()
        self._open.append((reply, deadline))
        self._watch(deadline)
        self.write(frame)
        if not self._reading:
            self.update_reading()
        return reply

    def write(self, frame: bytes) -> None:
        """Send ``frame`` with all others of this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(frame)
        self._unsent_size += len(frame)
        if self._unsent_size >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand over to the transport what was written."""
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_size = 0

    async def drain(self, deadline: float | None) -> None:
        """Wait until the peer has taken so much that more may be written, or until the connection
        has ended. Raises TimeoutError."""
        if not self.writable:
            async with asyncio.timeout_at(deadline):
                await self._writable.wait()

    def update_reading(self) -> None:
        """Read while there is room in the queue, or a reply to come."""
        reading = bool(self._open) or not self._queue.full
        if reading is not self._reading and self.live:
            self._reading = reading
            (self._transport.resume_reading if reading else self._transport.pause_reading)()

    def end(self) -> None:
        """Send no more. Raises UsageError for TLS, which has no half-close in asyncio."""
        if not self._transport.can_write_eof():
            raise UsageError("end: a TLS connection has no half-close; receive, then close")
        self.flush()
        self._transport.write_eof()

    def abort(self, why: str) -> None:
        """Close at once; what is open fails, and what is unsent is dropped."""
        self.stream.close(why)
        self._fail()
        self._transport.abort()

    async def close(self, timeout: float | None) -> None:
        """Send what is unsent, and close. Raises ClientTimeout where the peer does not take it."""
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
        await asyncio.wait([self.closed], timeout=_ABORTED)
        if unsent:
            raise ClientTimeout(f"{self._name} did not take what was sent within {timeout:g} s")

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        messages = self.stream.feed(data)
        answers = min(len(messages), len(self._open))
        for message in messages[:answers]:
            reply, _ = self._open.popleft()
            if not reply.done():
                reply.set_result(message)
        if answers < len(messages):
            self._queue.put(messages[answers:])
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
        # None where this side closed, and from uvloop where TLS ends without close_notify.
        self.stream.broken(error or ssl.SSLEOFError())
        self._fail()
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        if self.live:
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _watch(self, deadline: float | None) -> None:
        """One timer, for the earliest deadline: there is none to make for each request."""
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
            self._watch(min(deadlines))

    def _give_up(self) -> None:
        """A reply did not come in time. Those behind it cannot come before it, and a connection
        that is dead may never say so: it is closed."""
        now = self._loop.time()
        for reply, deadline in self._open:
            if deadline is not None and deadline <= now and not reply.done():
                reply.set_exception(ClientTimeout(f"no reply from {self._name} in time"))
        self.abort("a request had no reply")

    def _fail(self) -> None:
        """Tell all who wait that the connection has ended."""
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
    """Did the peer end TLS before TCP? asyncio does not tell, OpenSSL does: then, and only then,
    a read finds the end, where else it would want more."""
    try:
        return not encrypted.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False
