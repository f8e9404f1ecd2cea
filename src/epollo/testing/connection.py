"""The test's side of a connection in memory: the peer, and the block in which it is connected."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from epollo.engine import CloseReason
from epollo.errors import UsageError
from epollo.framing import Buffer
from epollo.testing.calling import awaited, finished
from epollo.testing.memory import Memory


class MemoryConnection(Memory):
    """An `epollo.Connection` whose peer is the test. For one thread, or one event loop.

    It does what a server's connection does, at once: ``connected`` is called when the block is
    entered, ``disconnected`` when the connection ends, with the block at the latest. Messages go
    through the framing both ways, so what it cannot carry fails here too. In an ``async with``,
    the handler is called in `receive_async` and at the ends of the block only.
    """

    def __enter__(self) -> Self:
        self._open()
        try:
            with self._turn():
                finished(self._protocol.application.connected(self))
        finally:
            self._tell_closed()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.end()

    async def __aenter__(self) -> Self:
        self._open()
        self._async = True
        try:
            with self._turn():
                await awaited(self._protocol.application.connected(self))
        finally:
            await self._tell_closed_async()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._drop(CloseReason.EOF)
        await self._tell_closed_async()

    def receive(self, message: Buffer) -> list[bytes]:
        """Hand ``message`` to the handler; the messages sent meanwhile, replies and others.

        While the connection is paused, or a reply is awaited, the message waits. Raises what the
        handler raises, which closes the connection; EncodeError for what the framing cannot
        carry, TypeError for a reply that is none, ConnectionClosed.
        """
        before = len(self.sent)
        self._check_block(asynchronous=False)
        self._arrive(message)
        self._serve()
        return self.sent[before:]

    async def receive_async(self, message: Buffer) -> list[bytes]:
        """As `receive`, for a handler that is an async function; what it returned is awaited."""
        before = len(self.sent)
        self._check_block(asynchronous=True)
        self._arrive(message)
        try:
            while self._deliverable:
                with self._turn():
                    result = self._protocol.application.received(self._waiting.popleft(), self)
                    self.reply(await awaited(result))
        finally:
            await self._tell_closed_async()
        return self.sent[before:]

    def end(self, reason: CloseReason = CloseReason.EOF) -> None:
        """The connection ends for ``reason``; ``disconnected`` is told. Nothing once closed."""
        self._drop(reason)
        self._tell_closed()

    def _open(self) -> None:
        if self._established:
            raise RuntimeError(f"{self!r} was entered before; connect again")
        self._established = True

    def _check_block(self, asynchronous: bool) -> None:
        if not self._established:
            raise RuntimeError(f"{self!r} is not connected; use it in a with block")
        if self._async is not asynchronous:
            raise UsageError("receive is for a with block, await receive_async for an async with")
