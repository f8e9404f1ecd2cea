"""A connection in memory: the Python engine's own, whose peer is the test."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Self, cast

from epollo.engine import CloseReason, Reply
from epollo.engine.python.connection import Connection
from epollo.engine.python.context import ConnectionContext
from epollo.errors import ConnectionClosed, UsageError
from epollo.framing import Buffer
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.handlers.coroutines import CoroutineExecutor
from epollo.server.handlers.executor import Executor, InlineExecutor
from epollo.server.stopping import Stop
from epollo.testing.memory import MemoryKernel, MemoryLoop
from epollo.testing.protocol import MemoryProtocol, in_handler, without_async

_AT_ONCE = (CloseReason.RESET, CloseReason.SLOW_CONSUMER, CloseReason.WRITE_TIMEOUT)


class MemoryConnection(Connection):
    """An `epollo.Connection` whose peer is the test. For one thread, or one event loop.

    It does what a server's connection does, at once: ``connected`` is called when the block is
    entered, ``disconnected`` when the connection ends, with the block at the latest. Messages go
    through the framing both ways, so what it cannot carry fails here too.
    """

    sockname = "memory"

    def __init__(self, protocol: ApplicationProtocol, peername: str) -> None:
        self._served = protocol
        self._protocol = MemoryProtocol(protocol)
        self._kernel = MemoryKernel()
        self._loop = MemoryLoop(self._kernel)
        context = ConnectionContext(self._loop, self._protocol)
        super().__init__(context, cast(socket.socket, self._kernel))
        self.peer: str | None = peername
        self._sent: list[bytes] = []
        self._sent_decoder = protocol.framing.decoder()
        self._entered = self._async = False

    def __enter__(self) -> Self:
        self._begin(InlineExecutor(without_async(self._served.application)))
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    async def __aenter__(self) -> Self:
        self._async = True
        executor = self._served.executor
        if not isinstance(executor, CoroutineExecutor):
            executor = InlineExecutor(self._served.application)
        self._begin(executor)
        await self._handlers_ended()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()
        await self._handlers_ended()

    # ---- The peer's side

    def receive(self, message: Buffer) -> list[bytes]:
        """Hand ``message`` to the handler; the messages sent meanwhile, replies and others.

        While the connection is paused, or a reply is awaited, the message waits. Raises what the
        handler raises, which closes the connection; EncodeError for what the framing cannot
        carry, TypeError for an invalid reply, ConnectionClosed.
        """
        before = len(self.sent)
        self._arrive(message, asynchronous=False)
        return self.sent[before:]

    async def receive_async(self, message: Buffer) -> list[bytes]:
        """Like `receive`, in an ``async with``: waits until the handler's coroutines have ended."""
        before = len(self.sent)
        self._arrive(message, asynchronous=True)
        await self._handlers_ended()
        return self.sent[before:]

    @property
    def sent(self) -> list[bytes]:
        """The messages sent to the peer until now. With the framing raw, what one send(2) took is
        one message."""
        while self._kernel.sent:
            self._sent += self._sent_decoder.feed(self._kernel.sent.pop(0))
        return self._sent

    def end(
        self, reason: CloseReason = CloseReason.EOF, error: BaseException | None = None
    ) -> None:
        """End it for ``reason``, as a server does: replies that are due are still sent, unless the
        peer has reset the connection or is too slow to take them. Nothing once closed."""
        if reason is CloseReason.EOF and not self._loop.polling:
            self._kernel.ended = True  # read after all that came before
        elif reason in _AT_ONCE:
            self.drop(reason, error)
        else:
            super().end(reason, error)
        self._turn()

    def use_context(self, context: ConnectionContext) -> None:
        super().use_context(context)
        self.flush()
        _ = self.sent  # by the framing before
        self._sent_decoder = context.framing.decoder()

    def start_tls(
        self, context: ssl.SSLContext | None = None, *, timeout: float | None = None
    ) -> None:
        """In memory everything stays plain."""

    # ---- The handler's side. The test may make these calls, too: then a turn follows at once
    # (`close` calls `end`).

    def find_peer(self) -> None:
        """It has a peer from the start."""

    def send(self, message: Buffer) -> None:
        super().send(message)
        self._turn()

    def answer(self, reply: Reply, count: int = 1) -> None:
        super().answer(reply, count)
        self._turn()

    def fail(self, error: BaseException, count: int = 1) -> None:
        super().fail(error, count)
        self._turn()

    def drain(self) -> None:
        super().drain()
        self._turn()

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        super().abort(reason)
        self._turn()

    def resume_reading(self) -> None:
        super().resume_reading()
        self._turn()

    # ---- Turns of the loop

    def _begin(self, executor: Executor) -> None:
        if self._entered or self.closed:
            raise RuntimeError(f"{self!r} was entered before; connect again")
        self._entered = True
        self._protocol.executor = executor
        executor.begin(self._loop)
        self._loop.call_threadsafe(self.start)
        self._turn()

    def _leave(self) -> None:
        try:
            self.end()
        finally:
            self.abort(self.reason or CloseReason.EOF)

    def _arrive(self, message: Buffer, asynchronous: bool) -> None:
        if not self._entered:
            raise RuntimeError(f"{self!r} is not connected; use it in a with block")
        if self._async is not asynchronous:
            raise UsageError("receive is for a with block, await receive_async for an async with")
        frame = self.context.encode(message)
        if self.reason is not None:
            raise ConnectionClosed(f"{self!r} receives no messages")
        self._kernel.unread += frame
        self._turn()

    def _turn(self) -> None:
        """Have the loop do everything that is due; later, if a handler makes the call: a server's
        loop goes on when its handlers return or wait."""
        if self._loop.polling:
            return
        if self._async and in_handler():
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._loop.turn()
        if not self._async:  # else `_handlers_ended` does
            self._loop.raise_errors()

    async def _handlers_ended(self) -> None:
        """Wait until no coroutine of the handler is at work. Raises what they have raised."""
        executor, busy = self._protocol.executor, True
        while busy and isinstance(executor, CoroutineExecutor):
            await executor.finish(Stop(grace=0))
            busy = self._loop.turn()
        self._loop.raise_errors()
