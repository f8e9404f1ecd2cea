"""A connection in memory, for the tests of a handler: no socket, no thread, no loop.

with epollo.testing.connect(handler, framing="line") as connection:
    assert connection.receive(b"hello") == [b"hello"]
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from epollo.engine import CloseReason, Reply
from epollo.engine.reply import messages_of
from epollo.errors import ConnectionClosed, UsageError
from epollo.framing import Buffer
from epollo.handler import Application, Handler, application
from epollo.service import Service
from epollo.settings import settings_from


def connect(
    handler: Handler, framing: str = "u32", *, peername: str = "memory", **settings: Any
) -> MemoryConnection:
    """A connection in memory to ``handler``, for a ``with`` block, or an ``async with`` where the
    handler has async functions. ``settings`` are the fields of `epollo.Settings`.

    Raises UsageError for what cannot be served either.
    """
    service = Service(settings_from(framing=framing, **settings), _application(handler))
    return MemoryConnection(service, peername)


class MemoryConnection:
    """An `epollo.Connection` whose peer is the test. For one thread, or one event loop.

    It does what a server's connection does, at once: ``connected`` is called when the block is
    entered, ``disconnected`` when the connection ends, with the block at the latest. Messages go
    through the framing both ways, so what it cannot carry fails here too. In an ``async with``,
    the handler is called in `receive_async` and at the ends of the block only.
    """

    def __init__(self, service: Service, peername: str) -> None:
        self.state: Any = None
        self.sent: list[bytes] = []
        """The messages that the peer was sent until now."""
        self.reason: CloseReason | None = None
        """Why it is closed, or about to be."""
        self.error: Exception | None = None
        self.in_flight = 0
        self._service = service
        self._peername = peername
        self._encode = service.framing.encode
        self._decoders = service.framing.decoder(), service.framing.decoder()  # there, here
        self._waiting: deque[bytes] = deque()  # received, and not yet handed to the handler
        self._turn_began = 0  # the length of `sent` then
        self._async = self._turning = self._paused = self._sealed = False
        self._established = self._closed = self._told = False

    def __enter__(self) -> Self:
        self._open()
        try:
            with self._turn():
                _finished(self._service.application.connected(self))
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
                await _awaited(self._service.application.connected(self))
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
                    result = self._service.application.received(self._waiting.popleft(), self)
                    self.reply(await _awaited(result))
        finally:
            await self._tell_closed_async()
        return self.sent[before:]

    def end(self, reason: CloseReason = CloseReason.EOF) -> None:
        """The connection ends for ``reason``; ``disconnected`` is told. Nothing once closed."""
        self._drop(reason)
        self._tell_closed()

    @property
    def peername(self) -> str:
        return self._peername

    @property
    def sockname(self) -> str:
        return "memory"

    @property
    def unsent(self) -> int:
        """0: the peer takes everything at once."""
        return 0

    @property
    def established(self) -> bool:
        return self._established

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return self._service.groups.of(self)

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<MemoryConnection {self.peername} {'closed' if self._closed else 'open'}{why}>"

    def send(self, message: Buffer) -> None:
        """Send one message. Raises EncodeError and ConnectionClosed."""
        frame = self._encode(message)
        if self._closed or self._sealed:
            raise ConnectionClosed(f"{self!r} takes no messages")
        self.push(frame)

    def push(self, frame: bytes) -> None:
        """Send a frame that is made already; nothing where the connection takes no more."""
        if not self._closed and not self._sealed:
            self._put(frame)

    def reply(self, reply: Reply) -> None:
        """Send what a handler returned: one message, several or none."""
        for message in messages_of(reply):
            self._put(self._encode(message))
            if self._closed:
                break

    def join(self, group: str) -> None:
        """Be one of ``group``. Raises ConnectionClosed."""
        self._service.groups.join(group, self)

    def leave(self, group: str) -> None:
        """Be none of ``group``."""
        self._service.groups.leave(group, self)

    def defer(self) -> None:
        """The reply to the message being handled comes later, by `answer`."""
        self.in_flight += 1

    def answer(self, reply: Reply) -> None:
        """Send the reply to a deferred message."""
        self.in_flight -= 1
        try:
            with self._turn():
                if self._answers:
                    self.reply(reply)
        finally:
            self._serve()

    @property
    def tls(self) -> None:
        """There is none in memory."""

    def fail(self, error: Exception) -> None:
        """The handler raised for a deferred message: that is raised here."""
        self.in_flight -= 1
        self.error = error
        self._sealed = True
        self._end_for(CloseReason.HANDLER_ERROR)
        raise error

    def close(self) -> None:
        """Receive no more; what the handler still returns is sent, then it is closed."""
        self._sealed = True
        self._waiting.clear()
        self._end_for(CloseReason.LOCAL)

    def drain(self) -> None:
        """Close, as a server that is told to stop does: here, nothing is on its way."""
        self._end_for(CloseReason.SHUTDOWN)

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        """Close now; what was sent by the handler that is running is dropped."""
        if self._turning and not self._closed:
            del self.sent[self._turn_began :]
        self._drop(reason)
        self._tell_closed()

    def pause_reading(self) -> None:
        """Deliver no message until ``resume_reading``."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver messages again, those that came meanwhile at once."""
        self._paused = False
        self._serve()

    @property
    def _deliverable(self) -> bool:
        """Is there a message, and may the handler have it now?"""
        busy = self._turning or self.in_flight >= self._service.limits.in_flight
        return bool(self._waiting) and not (busy or self._paused or self._sealed)

    @property
    def _answers(self) -> bool:
        """Is what is in flight still to be answered? Behind a close too."""
        return not self._sealed or self.reason is CloseReason.LOCAL

    def _open(self) -> None:
        if self._established:
            raise RuntimeError(f"{self!r} was entered before; connect again")
        self._established = True

    def _check_block(self, asynchronous: bool) -> None:
        if not self._established:
            raise RuntimeError(f"{self!r} is not connected; use it in a with block")
        if self._async is not asynchronous:
            raise UsageError("receive is for a with block, await receive_async for an async with")

    def _arrive(self, message: Buffer) -> None:
        frame = self._encode(message)
        if self._closed or self.reason is not None:
            raise ConnectionClosed(f"{self!r} receives no messages")
        self._waiting.extend(self._decoders[1].feed(frame))

    def _serve(self) -> None:
        """Hand over what waits, in a ``with`` block; in the other kind, an await does."""
        if not self._async:
            try:
                while self._deliverable:
                    with self._turn():
                        result = self._service.application.received(self._waiting.popleft(), self)
                        self.reply(_finished(result))
            finally:
                self._tell_closed()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A call of the handler: what it raises closes the connection, and is the test's."""
        outer, self._turning = self._turning, True
        if not outer:
            self._turn_began = len(self.sent)
        try:
            yield
        except Exception as error:
            if not self._closed:
                self.error = error
            self._drop(CloseReason.HANDLER_ERROR)
            raise
        finally:
            self._turning = outer
            self._settle()

    def _end_for(self, reason: CloseReason) -> None:
        self.reason = self.reason or reason
        self._settle()
        self._tell_closed()

    def _settle(self) -> None:
        """Close, where that was asked for and all is answered."""
        owing = self._turning or self._waiting or (self.in_flight and self._answers)
        if self.reason is not None and not owing:
            self._drop(self.reason)

    def _put(self, frame: bytes) -> None:
        if not self._closed:
            self.sent += self._decoders[0].feed(frame)

    def _drop(self, reason: CloseReason) -> None:
        if not self._closed:
            self._closed = self._sealed = True
            self.reason = reason
            self._waiting.clear()

    def _tell_closed(self) -> None:
        if not self._async and self._must_tell():
            _finished(self._disconnect())

    async def _tell_closed_async(self) -> None:
        if self._must_tell():
            await _awaited(self._disconnect())

    def _must_tell(self) -> bool:
        due = self._closed and self._established and not self._told and not self._turning
        self._told = self._told or due
        return due

    def _disconnect(self) -> object:
        assert self.reason is not None
        self._service.groups.forget(self)
        return self._service.application.disconnected(self, self.reason)


def _application(handler: Handler) -> Application:
    """``handler`` made ready to be called here: what is async returns something to await."""
    receive = getattr(handler, "received", handler)
    if inspect.isclass(handler) or not inspect.iscoroutinefunction(receive):
        return application(handler)

    @functools.wraps(receive)
    def call(*arguments: Any) -> Any:
        return receive(*arguments)

    plain = application(call)
    return dataclasses.replace(
        plain,
        connected=getattr(handler, "connected", plain.connected),
        disconnected=getattr(handler, "disconnected", plain.disconnected),
    )


def _finished(result: Any) -> Any:
    """``result``, where it is one already. Raises UsageError for something to await."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise UsageError("the handler is async: use async with, and await receive_async")
    return result


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
