"""A client of a framed server for asyncio, and for compatible loops such as uvloop."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self, Unpack

from epollo.client.arguments import (
    ClientArguments,
    ConnectOptions,
    HasTimeout,
    Timeout,
    after_error,
    read_arguments,
    with_tls,
)
from epollo.client.asynchronous.connection import AsyncConnection
from epollo.client.asynchronous.dialing import dial, start_tls
from epollo.client.asynchronous.message_queue import MessageQueue
from epollo.client.asynchronous.reply_deadlines import Reply
from epollo.client.forks import Owner
from epollo.client.phases import check_phase, plain_behind
from epollo.client.reconnects import Reconnects
from epollo.client.wording import closed_here
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
from epollo.framing import DEFAULT_MAX_FRAME, AnyFraming, Buffer, Framing
from epollo.framing.reframing import framing_of


class AsyncClient(HasTimeout):
    """One connection, for all tasks of one loop; an asynchronous context manager.

    ``async with`` connects it, or ``await AsyncClient.connect(address)``. The arguments and errors
    are those of `epollo.connect`.

    Requests of several tasks share the connection: each is sent at once, and each task gets its own
    reply. **Without** ``match`` **that holds only for a server that replies in order and sends
    nothing else**: the next message is taken for the reply to the oldest request, and nothing tells
    that it is another one's. With ``match``, replies go to their requests in any order. Cancelling
    a task that waits for a reply does not disturb the others: its reply is received and dropped.

    Iterating yields messages until the peer ends the stream. A message that arrives while no
    request is open, or with ``match`` one that no request has the identifier of, is left for
    `receive`, or given to ``on_push``.

    Other event loops and forked children cannot use the client: UsageError.
    """

    def __init__(
        self,
        to: str,
        framing: AnyFraming = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self._prepare(read_arguments(to, framing, timeout, max_frame, **options))

    @classmethod
    def of(cls, arguments: ClientArguments) -> Self:
        """A client of arguments that are checked already."""
        client = cls.__new__(cls)
        client._prepare(arguments)
        return client

    def _prepare(self, arguments: ClientArguments) -> None:
        super().__init__(arguments.timeout)
        self._endpoint = arguments.endpoint
        self._match = arguments.match
        self._backoff = arguments.backoff
        self._reconnects: Reconnects | None = None
        self._queue = MessageQueue(arguments.on_push)
        self._connection: AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # set when it connects
        self._owner = Owner()
        self._late = 0  # on earlier connections
        self._closed = False
        self._dialing: asyncio.Timeout | None = None  # `_stop_dialing` makes it pass
        self.peername: str = str(self._endpoint)

    @classmethod
    async def connect(
        cls,
        to: str,
        framing: AnyFraming = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """A connected client, which the caller closes. Raises as `epollo.connect`."""
        return await cls(to, framing, timeout, max_frame, **options).__aenter__()

    @property
    def late_replies(self) -> int:
        """Replies that were dropped: their requests had been cancelled, or given up."""
        return self._late + (self._connection.late if self._connection else 0)

    @property
    def open_requests(self) -> int:
        """Requests whose replies may still come."""
        return self._connection.open_requests if self._connection else 0

    @property
    def live(self) -> bool:
        """Is there a connection, as far as is known?"""
        return self._connection is not None and self._connection.live

    @property
    def replied(self) -> bool:
        """Has this connection brought a reply?"""
        return self._connection is not None and self._connection.replied

    @property
    def framing(self) -> Framing:
        """How messages are framed from here on: see `Client.framing`."""
        return self._endpoint.framing

    @framing.setter
    def framing(self, framing: AnyFraming) -> None:
        self._check()
        chosen = framing_of(framing, self._endpoint.framing.max_frame)
        self._check_phase("framing")
        self._current().reframe(chosen)
        self._endpoint = replace(self._endpoint, framing=chosen)

    async def start_tls(
        self,
        tls: ssl.SSLContext | bool = True,
        *,
        server_hostname: str | None = None,
        timeout: Timeout = ...,
    ) -> None:
        """Begin TLS, after a reply that agrees to it: see `Client.start_tls`."""
        deadline = self._deadline(timeout)
        endpoint = with_tls(self._endpoint, tls, server_hostname)
        self._check_phase("start_tls")
        connection = self._current()
        if self._endpoint.tls is not None:
            raise PhaseError("start_tls: the connection has TLS already")
        if connection.stream.fault is not None:
            raise connection.stream.fault()
        connection.check_sending()
        if error := plain_behind(self.peername, connection.stream, len(self._queue)):
            connection.abort("TLS could not begin")
            raise error
        late, transport = connection.late, connection.give_up_transport()
        async with self._until_closed():
            transport = await start_tls(transport, endpoint, deadline)
            self._late += late
            self._endpoint = endpoint
            self._connection = AsyncConnection(transport, endpoint, self._match, self._queue)

    def _check_phase(self, what: str) -> None:
        reconnects, waiting = self._backoff is not None, bool(self.open_requests)
        check_phase(what, reconnects=reconnects, waiting=waiting)

    async def request(
        self, message: Buffer, *, idempotent: bool = False, timeout: Timeout = ...
    ) -> bytes:
        """Send ``message`` and return its reply, within ``timeout`` in all.

        Without ``match`` the server has to reply in order: see `AsyncClient`. Then a reply that
        does not come in time closes the connection, since the replies after it cannot come either.
        With ``match`` the connection stays open, and the late reply is dropped.

        Raises EncodeError before a byte is sent, ClientTimeout and ConnectionClosed, for bytes that
        are no reply FrameTruncated, FrameTooLarge and FrameCorrupt, and UsageError for an
        identifier that is in use. If the client reconnects, an ``idempotent`` message is sent once
        more when the connection is lost.
        """
        deadline = self._deadline(timeout)
        try:
            return await (await self._ask(message, deadline))
        except (ConnectionClosed, FrameTruncated):
            if not idempotent or self._backoff is None or self._closed:
                raise
        return await (await self._ask(message, deadline))

    async def requests(
        self, messages: Iterable[Buffer], window: int = 64, *, timeout: Timeout = ...
    ) -> AsyncIterator[bytes]:
        """Send ``messages`` and yield the reply to each, in their order.

        At most ``window`` messages are sent ahead of the replies taken. ``timeout`` limits each
        request. Raises as `request`, but EncodeError only after the replies to the messages
        already sent.
        """
        if type(window) is not int or window < 1:
            raise UsageError(f"window={window!r} must be a whole number, at least 1")
        replies: deque[Reply] = deque()
        refused: EncodeError | UsageError | None = None
        try:
            for message in messages:
                if len(replies) == window:
                    yield await replies.popleft()
                deadline = self._deadline(timeout)
                try:
                    replies.append(await self._ask(message, deadline))
                except (EncodeError, UsageError) as error:
                    refused = error
                    break
            while replies:
                yield await replies.popleft()
        finally:
            for reply in replies:
                reply.cancel()
        if refused is not None:
            raise refused

    async def send(self, message: Buffer, *, timeout: Timeout = ...) -> None:
        """Send one whole message; returns once few bytes (64 KiB) are left unsent.

        Raises EncodeError before a byte is sent, ConnectionClosed and ClientTimeout. After a
        ClientTimeout an unknown part of the message is sent, so the connection is closed.
        """
        deadline = self._deadline(timeout)
        frame = self._endpoint.framing.encode(message)
        connection = await self._writable(deadline)
        connection.check_sending()
        connection.owed = True
        connection.write(frame)
        try:
            await self._drain(connection, deadline)
        except ClientTimeout:
            connection.abort("a message was not taken")
            raise
        if connection.stream.fault is not None:
            raise connection.stream.fault()

    async def receive(self, *, timeout: Timeout = ...) -> bytes:
        """The next message that is not the reply to a `request`.

        Raises ClientTimeout (a later call may still get the message), ConnectionClosed if the
        connection is lost, StreamEnded at the end of the stream, FrameTruncated if the stream ends
        inside a frame, FrameTooLarge and FrameCorrupt. It never reconnects: a new connection has
        no message to give.
        """
        deadline = self._deadline(timeout)
        while not self._queue:
            connection = self._current()
            if connection.stream.fault is not None:
                raise connection.stream.fault()
            try:
                await self._queue.wait(deadline)
            except TimeoutError:
                limit = self._limit_of(timeout)
                raise ClientTimeout(f"no message from {self.peername} in {limit:g} s") from None
        message = self._queue.get()
        self._current().update_reading()
        return message

    async def end(self) -> None:
        """End the outgoing stream (half-close) after what is sent; replies can still be received.

        Raises ConnectionClosed, and UsageError for TLS: Python has no half-close for it.
        """
        self._check()
        connection = self._current()
        if connection.stream.fault is not None:
            raise connection.stream.fault()
        connection.end()

    async def close(self) -> None:
        """Send the bytes still unsent, then close for good. Open requests raise ConnectionClosed.

        If messages were sent whose replies have not shown that they arrived, this waits for the
        server's end up to ``timeout``, as `Client.close`. Raises ClientTimeout and
        ConnectionClosed if they may be lost.
        """
        if self._connection is not None:
            self._check()
        self._closed = True
        self._stop_dialing()
        if self._connection is not None:
            await self._connection.close(self._limit)

    def abort(self) -> None:
        """Close at once and for good: unsent bytes are dropped, and open requests raise
        ConnectionClosed."""
        self._closed = True
        self._stop_dialing()
        if self._connection is not None:
            self._connection.abort("closed here")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except StreamEnded:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        deadline = self._deadline(...)
        async with self._connecting:
            if self._connection is None and not self._closed:
                loop = asyncio.get_running_loop()
                if self._backoff is not None:
                    self._reconnects = Reconnects(self.peername, self._backoff, loop.time)
                async with self._until_closed():
                    self._connection = await self._dial(deadline)
                self._loop = loop
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is not None:
            self.limit_close()
        try:
            await self.close()
        except (ClientTimeout, ConnectionClosed):
            if error is None:  # else the error of the block says more
                raise

    def limit_close(self) -> None:
        """An error is on its way out: a `close` takes a second at most."""
        self._limit = after_error(self._limit)

    def _check(self) -> None:
        self._owner.check()
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise UsageError("the client belongs to another event loop; make one in this loop")

    def _deadline(self, timeout: Timeout) -> float | None:
        self._owner.check()
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._check()
        limit = self._limit if timeout is ... else self._limit_of(timeout)
        return None if limit is None else loop.time() + limit

    def _current(self) -> AsyncConnection:
        if self._connection is None:
            raise ConnectionClosed(
                f"{self.peername} is not connected; write: async with the client"
            )
        return self._connection

    async def _dial(self, deadline: float | None) -> AsyncConnection:
        transport = await dial(self._endpoint, deadline)
        return AsyncConnection(transport, self._endpoint, self._match, self._queue)

    async def _ask(self, message: Buffer, deadline: float | None) -> Reply:
        connection = self._connection
        if self._reconnects is not None and connection is not None:
            connection.notice_end()
        if connection is None or not (connection.writable and connection.live):
            connection = await self._writable(deadline)
        return connection.request(message, deadline)

    async def _writable(self, deadline: float | None) -> AsyncConnection:
        """A live connection whose buffer takes one more message."""
        while True:
            connection = self._current()
            if connection.stream.fault is not None:
                if self._reconnects is None or self._closed:
                    raise connection.stream.fault()
                await self._reconnect(self._reconnects, deadline)
            elif connection.writable:
                return connection
            else:
                await self._drain(connection, deadline)

    async def _drain(self, connection: AsyncConnection, deadline: float | None) -> None:
        try:
            await connection.drain(deadline)
        except TimeoutError:
            raise ClientTimeout(f"{self.peername} did not take the message in time") from None

    async def _reconnect(self, reconnects: Reconnects, deadline: float | None) -> None:
        """Connect again; the first task that needs it does so, and the others wait."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._connecting.acquire()
        except TimeoutError:
            raise ConnectError(f"cannot connect to {self.peername}: not in time") from None
        try:
            if self._closed:
                raise closed_here(self.peername)
            if not self._current().live:
                async with self._until_closed():
                    await self._dial_again(self._current(), reconnects, deadline)
        finally:
            self._connecting.release()

    @asynccontextmanager
    async def _until_closed(self) -> AsyncIterator[None]:
        """The block makes a connection, or begins TLS. `close` and `abort` stop it:
        ConnectionClosed."""
        try:
            async with asyncio.timeout(None) as self._dialing:
                yield
        except TimeoutError:
            if not self._closed:
                raise
        finally:
            self._dialing = None
        if self._closed:  # perhaps just after it was connected
            if self._connection is not None:
                self._connection.abort("closed here")
            raise closed_here(self.peername)

    def _stop_dialing(self) -> None:
        dialing, self._dialing = self._dialing, None  # once: its time may not change again
        if dialing is not None:
            with suppress(RuntimeError):  # the loop does not run
                dialing.reschedule(0.0)  # which is past

    async def _dial_again(
        self, lost: AsyncConnection, reconnects: Reconnects, deadline: float | None
    ) -> None:
        lost.abort("")  # after the peer's end there may still be unsent bytes
        reconnects.lost(replied=lost.replied)
        for wait in reconnects.waits(deadline):
            await asyncio.sleep(wait)
            with reconnects.attempt():
                self._connection = await self._dial(deadline)
                self._late += lost.late
                return
