"""A client of a framed server for asyncio, and for compatible loops such as uvloop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self, Unpack

from epollo.client.arguments import ConnectOptions, read_arguments
from epollo.client.async_connection import AsyncConnection, Reply
from epollo.client.async_dialing import dial
from epollo.client.backoff import Backoff, waits_until
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

    ``async with`` connects it, or ``await AsyncClient.connect(address)``. The arguments and errors
    are those of `epollo.connect`.

    Requests of several tasks share the connection: each is sent at once, and each task gets its own
    reply, since replies come in the order of the requests. Cancelling a task that waits for a reply
    does not disturb the others: its reply is received and dropped.

    Iterating yields messages until the peer ends the stream. A message that arrives while no
    request is open is left for `receive`. If the server also sends messages without a request, use
    only `send` and `receive`: such a message would be taken as the reply to an open request.
    """

    def __init__(
        self,
        to: str,
        framing: str | Framing = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self.timeout: float | None
        self._endpoint, self.timeout, self._backoff = read_arguments(
            to, framing, timeout, max_frame, **options
        )
        self._queue = MessageQueue()
        self._connection: AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self.peername: str = str(self._endpoint)

    @classmethod
    async def connect(
        cls,
        to: str,
        framing: str | Framing = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """A connected client, which the caller closes. Raises as `epollo.connect`."""
        return await cls(to, framing, timeout, max_frame, **options).__aenter__()

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

        At most ``window`` messages are sent ahead of the replies taken. ``timeout`` limits each
        request. Raises as `request`, but EncodeError only after the replies to the messages
        already sent.
        """
        if window < 1:
            raise UsageError(f"window={window} must be at least 1")
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
        """Send one whole message; returns once the transport's buffer is below its high-water mark.

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
        """The next message that is not the reply to a `request`.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed if the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated if the stream ends
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: a new connection has
        no message to give.
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
        """End the outgoing stream (half-close); replies can still be received.

        Raises ConnectionClosed, and UsageError for TLS: asyncio has no half-close for it.
        """
        connection = self._current()
        if connection.stream.fault is not None:
            raise connection.stream.fault()
        connection.end()

    async def close(self) -> None:
        """Send the bytes still unsent, then close for good.

        Open requests raise ConnectionClosed. Raises ClientTimeout if the peer did not take the
        unsent bytes.
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
        """A live connection whose buffer takes one more message."""
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
        """Connect again; the first task that needs it does so, and the others wait."""
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
        self._current().abort("")  # after the peer's end there may still be unsent bytes
        failure: ConnectError | None = None
        for wait in waits_until(backoff, deadline, asyncio.get_running_loop().time):
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
