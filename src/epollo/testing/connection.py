"""A connection in memory: the Python engine's own, whose peer is the test."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from contextlib import AsyncExitStack, ExitStack
from typing import Self, cast

from epollo.engine import CloseReason, Reply
from epollo.engine.delayed_calls import seconds_of
from epollo.engine.python.connection import Connection
from epollo.engine.python.context import ConnectionContext
from epollo.errors import ConnectionClosed, UsageError
from epollo.framing import Buffer
from epollo.server.application_protocol import ApplicationProtocol
from epollo.server.handlers.coroutines import CoroutineExecutor
from epollo.server.handlers.executor import Executor, InlineExecutor
from epollo.server.stopping import Stop
from epollo.server.timeouts import TimeoutSweeper
from epollo.settings import Settings
from epollo.testing.memory import MemoryKernel, MemoryLoop
from epollo.testing.protocol import MemoryProtocol, in_handler, without_async
from epollo.testing.server import MemoryServer

_ROUNDS = 10  # of the asyncio loop, for coroutines to go on at a moment of the clock
_AT_ONCE = (CloseReason.RESET, CloseReason.SLOW_CONSUMER, CloseReason.WRITE_TIMEOUT)


class MemoryConnection(Connection):
    """An `epollo.Connection` whose peer is the test. For one thread, or one event loop.

    It does what a server's connection does, at once: ``started`` and ``connected`` are called when
    the block is entered, ``disconnected`` when the connection ends, with the block at the latest,
    and then ``stopped``. Messages go through the framing both ways, so what it cannot carry fails
    here too. Time goes by only in `advance`.
    """

    sockname = "memory"

    def __init__(self, protocol: ApplicationProtocol, settings: Settings, peername: str) -> None:
        self._served = protocol
        self._protocol = MemoryProtocol(protocol)
        self._kernel = MemoryKernel()
        self._loop = MemoryLoop(self._kernel)
        context = ConnectionContext(self._loop, self._protocol)
        super().__init__(context, cast(socket.socket, self._kernel))
        self.server: MemoryServer = MemoryServer(settings, protocol, self._loop)
        """What ``started`` and ``stopped`` are given."""
        self.peer: str | None = peername
        self._sent: list[bytes] = []
        self._sent_decoder = protocol.framing.decoder()
        self._entered = self._async = False

    def __enter__(self) -> Self:
        self._enter_block()
        plain = without_async(self._served.application)
        plain.started(self.server)
        with ExitStack() as on_error:
            on_error.callback(self._leave_block)
            self._begin(InlineExecutor(plain))
            on_error.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        finally:
            self._leave_block()

    async def __aenter__(self) -> Self:
        self._enter_block()
        self._async = True
        executor = self._served.executor
        if not isinstance(executor, CoroutineExecutor):
            executor = InlineExecutor(self._served.application)
        await _awaited(self._served.application.started(self.server))
        async with AsyncExitStack() as on_error:
            on_error.push_async_callback(self._leave_block_async)
            self._begin(executor)
            await self._handlers_ended()
            on_error.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            self._leave()
            await self._handlers_ended()
        finally:
            await self._leave_block_async()

    # ---- The peer's side

    def receive(self, message: Buffer) -> list[bytes]:
        """Hand ``message`` to the handler; the messages sent meanwhile, replies and others.

        While the connection is paused, or a reply is awaited, the message waits. Raises what the
        handler raises, which closes the connection; EncodeError for what the framing cannot
        carry, TypeError for an invalid reply, ConnectionClosed.
        """
        self._check_block("receive", asynchronous=False)
        return self._arrive(self.context.encode(message))

    async def receive_async(self, message: Buffer) -> list[bytes]:
        """Like `receive`, in an ``async with``: waits until the handler's coroutines have ended."""
        self._check_block("receive", asynchronous=True)
        return await self._arrive_async(self.context.encode(message))

    def receive_bytes(self, data: Buffer) -> list[bytes]:
        """Like `receive`, for bytes as they come on the wire: a part of a frame, several frames, or
        what is no frame, which closes the connection."""
        self._check_block("receive_bytes", asynchronous=False)
        return self._arrive(data)

    async def receive_bytes_async(self, data: Buffer) -> list[bytes]:
        """Like `receive_bytes`, in an ``async with``: waits as `receive_async` does."""
        self._check_block("receive_bytes", asynchronous=True)
        return await self._arrive_async(data)

    def advance(self, seconds: str | float) -> list[bytes]:
        """Move the clock on by ``seconds``, a number or text such as ``"90s"``; the messages sent
        meanwhile. Calls of ``call_later`` are made, each at its time, and timeouts pass. Raises
        what the calls raise."""
        self._check_block("advance", asynchronous=False)
        before = len(self.sent)
        for _ in self._loop.moments(seconds_of(seconds, "advance")):
            self._turn()
        return self.sent[before:]

    async def advance_async(self, seconds: str | float) -> list[bytes]:
        """Like `advance`, in an ``async with``: coroutines that a call wakes go on, until they wait
        for something else. Their ``asyncio.sleep`` is on the event loop's own clock."""
        self._check_block("advance", asynchronous=True)
        before = len(self.sent)
        for _ in self._loop.moments(seconds_of(seconds, "advance")):
            self._turn()
            await self._let_handlers_run()
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

    def push(self, frame: bytes) -> None:
        super().push(frame)
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

    def _enter_block(self) -> None:
        if self._entered or self.closed:
            raise RuntimeError(f"{self!r} was entered before; connect again")
        self._entered = True
        TimeoutSweeper(self._loop, self.server.settings)

    def _begin(self, executor: Executor) -> None:
        self._protocol.executor = executor
        executor.begin(self._loop)
        self._loop.call_threadsafe(self.start)
        self._turn()

    def _leave(self) -> None:
        try:
            self.end()
        finally:
            self.abort(self.reason or CloseReason.EOF)

    def _leave_block(self) -> None:
        self._loop.end()
        self._served.application.stopped(self.server)

    async def _leave_block_async(self) -> None:
        self._loop.end()
        await _awaited(self._served.application.stopped(self.server))

    def _check_block(self, method: str, asynchronous: bool) -> None:
        if not self._entered:
            raise RuntimeError(f"{self!r} is not connected; use it in a with block")
        if self._async is not asynchronous:
            raise UsageError(
                f"{method} is for a with block, await {method}_async for an async with"
            )

    def _arrive(self, data: Buffer) -> list[bytes]:
        before = len(self.sent)
        if self.reason is not None:
            raise ConnectionClosed(f"{self!r} receives no messages")
        self._kernel.unread += data
        self._turn()
        return self.sent[before:]

    async def _arrive_async(self, data: Buffer) -> list[bytes]:
        before = len(self.sent)
        self._arrive(data)
        await self._handlers_ended()
        return self.sent[before:]

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
        """Wait until no coroutine of the handler is at work, other than in a task of the open
        connection. Raises what they have raised."""
        executor, busy = self._protocol.executor, True
        while busy and isinstance(executor, CoroutineExecutor):
            if self.closed:
                await executor.finish(Stop(grace=0))
            else:
                await executor.wait_for_calls()
            busy = self._loop.turn()
        self._loop.raise_errors()

    async def _let_handlers_run(self) -> None:
        """Those that were waiting may still have to wait: for a later moment."""
        if isinstance(self._protocol.executor, CoroutineExecutor):
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
                self._loop.turn()
        self._loop.raise_errors()


async def _awaited(result: object) -> None:
    if inspect.isawaitable(result):
        await result
