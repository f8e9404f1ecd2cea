"""A client of a framed server for asyncio, and for loops that keep its contract, as uvloop's."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self

from epollo.client.async_connection import AsyncConnection, Reply
from epollo.client.async_dialing import dial
from epollo.client.backoff import Backoff, make_backoff
from epollo.client.endpoint import check_timeout, make_endpoint
from epollo.client.message_queue import MessageQueue
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


class AsyncClient:
    """One connection, for all tasks of one loop; an asynchronous context manager.

    Connected by ``async with``, or by ``await AsyncClient.connect(address)``. The arguments are
    those of `epollo.connect`, the errors too.

    Requests of several tasks share the connection: each is sent at once, and the replies, which
    come in the order of the requests, go each to its own. A task that is cancelled while it waits
    disturbs no other: its reply is received and dropped.

    Iterating yields messages until the peer ends the stream. A message that comes while no request
    is open is for `receive`; a server that also sends messages of its own accord is for `send` and
    `receive` alone, since what it sends while a request is open would be taken for the reply.
    """

    def __init__(
        self,
        to: str,
        framing: str | Framing = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        *,
        tls: ssl.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        reconnect: Backoff | bool = False,
    ) -> None:
        self._endpoint = make_endpoint(to, framing, max_frame, tls, server_hostname)
        self._backoff = make_backoff(reconnect)
        self._queue = MessageQueue()
        self._connection: AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self.timeout = check_timeout(timeout)
        self.peername = str(self._endpoint)

    @classmethod
    async def connect(
        cls,
        to: str,
        framing: str | Framing = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        *,
        tls: ssl.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        reconnect: Backoff | bool = False,
    ) -> Self:
        """A connected client, which the caller closes. Raises as `epollo.connect`."""
        client = cls(
            to,
            framing,
            timeout,
            max_frame,
            tls=tls,
            server_hostname=server_hostname,
            reconnect=reconnect,
        )
        return await client.__aenter__()

    async def request(self, message: Buffer, *, idempotent: bool = False) -> bytes:
        """Send ``message`` and return its reply, within ``timeout`` in all.

        Raises EncodeError before a byte is sent, ClientTimeout and ConnectionClosed, and for bytes
        that are no reply FrameTruncated, FrameTooLarge and FrameCorrupt. A reply that does not come
        in time closes the connection, since the replies after it cannot come either. If the client
        reconnects, an ``idempotent`` message is sent once more when the connection is lost.
        """
        frame = self._endpoint.framing.encode(message)
        deadline = self._deadline()
        try:
            return await (await self._ask(frame, deadline))
        except (ConnectionClosed, FrameTruncated):
            if not idempotent or self._backoff is None or self._closed:
                raise
        return await (await self._ask(frame, deadline))

    async def requests(self, messages: Iterable[Buffer], window: int = 64) -> AsyncIterator[bytes]:
        """Send ``messages`` and yield the reply to each, in their order.

        At most ``window`` are sent ahead of the replies taken. ``timeout`` bounds each request.
        Raises as `request`; EncodeError only after the replies to what was sent.
        """
        if window < 1:
            raise UsageError(f"window={window} lets nothing be sent; it must be at least 1")
        replies: deque[Reply] = deque()
        refused: EncodeError | None = None
        try:
            for message in messages:
                if len(replies) == window:
                    yield await replies.popleft()
                try:
                    frame = self._endpoint.framing.encode(message)
                except EncodeError as error:
                    refused = error
                    break
                replies.append(await self._ask(frame, self._deadline()))
            while replies:
                yield await replies.popleft()
        finally:
            for reply in replies:
                reply.cancel()
        if refused is not None:
            raise refused

    async def send(self, message: Buffer) -> None:
        """Send one message whole; returns when little enough of what was sent is still unsent.

        Raises EncodeError before a byte is sent, ConnectionClosed and ClientTimeout. After a
        ClientTimeout an unknown part of the message is sent, so the connection is closed.
        """
        frame = self._endpoint.framing.encode(message)
        deadline = self._deadline()
        connection = await self._writable(deadline)
        connection.write(frame)
        try:
            await self._drain(connection, deadline)
        except ClientTimeout:
            connection.abort("a message was not taken")
            raise
        if connection.stream.fault is not None:
            raise connection.stream.fault()

    async def receive(self) -> bytes:
        """The next message that is no reply to a `request`.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed where the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated where that is
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: nothing would come.
        """
        deadline = self._deadline()
        while not self._queue:
            connection = self._current()
            if connection.stream.fault is not None:
                raise connection.stream.fault()
            try:
                await self._queue.wait(deadline)
            except TimeoutError:
                raise ClientTimeout(
                    f"no message from {self.peername} in {self.timeout:g} s"
                ) from None
        message = self._queue.get()
        self._current().update_reading()
        return message

    async def end(self) -> None:
        """Send no more (half-close); the replies to what was sent can still be received.

        Raises ConnectionClosed, and UsageError for TLS, which has no half-close in asyncio.
        """
        connection = self._current()
        if connection.stream.fault is not None:
            raise connection.stream.fault()
        connection.end()

    async def close(self) -> None:
        """Close for good, once what was sent is sent; returns when nothing of it is left.

        Requests that wait raise ConnectionClosed. Raises ClientTimeout where the peer did not take
        what was sent.
        """
        self._closed = True
        if self._connection is not None:
            await self._connection.close(self.timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except StreamEnded:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        if self._connection is None:
            self._connection = await dial(self._endpoint, self._queue, self._deadline())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    def _deadline(self) -> float | None:
        if self.timeout is None:
            return None
        return asyncio.get_running_loop().time() + self.timeout

    def _current(self) -> AsyncConnection:
        if self._connection is None:
            raise ConnectionClosed(
                f"{self.peername} is not connected; write: async with the client"
            )
        return self._connection

    async def _ask(self, frame: bytes, deadline: float | None) -> Reply:
        return (await self._writable(deadline)).request(frame, deadline)

    async def _writable(self, deadline: float | None) -> AsyncConnection:
        """A live connection that has room for one more message."""
        while True:
            connection = self._current()
            if connection.stream.fault is not None:
                if self._backoff is None or self._closed:
                    raise connection.stream.fault()
                await self._reconnect(self._backoff, deadline)
            elif connection.writable:
                return connection
            else:
                await self._drain(connection, deadline)

    async def _drain(self, connection: AsyncConnection, deadline: float | None) -> None:
        try:
            await connection.drain(deadline)
        except TimeoutError:
            raise self._not_taken() from None

    async def _reconnect(self, backoff: Backoff, deadline: float | None) -> None:
        """Connect anew; all who need it wait for whoever comes first to do it."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._connecting.acquire()
        except TimeoutError:
            raise ConnectError(
                f"cannot connect to {self.peername}: not within {self.timeout:g} s"
            ) from None
        try:
            if not self._current().live:
                self._connection = await self._dial_again(backoff, deadline)
        finally:
            self._connecting.release()

    async def _dial_again(self, backoff: Backoff, deadline: float | None) -> AsyncConnection:
        self._current().abort("")  # one whose peer ended it may still have something to send
        failure: ConnectError | None = None
        now = asyncio.get_running_loop().time
        for wait in backoff.waits():
            if failure and deadline is not None and now() + wait >= deadline:
                break
            await asyncio.sleep(wait)
            try:
                connection = await dial(self._endpoint, self._queue, deadline)
            except ConnectError as error:
                failure = error
                continue
            if self._closed:
                await connection.close(self.timeout)
            return connection
        assert failure is not None
        raise failure

    def _not_taken(self) -> ClientTimeout:
        return ClientTimeout(f"{self.peername} did not take the message within {self.timeout:g} s")
