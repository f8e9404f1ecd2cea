"""The handler's side of a connection in memory: what a server's connection does, at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from epollo.engine import CloseReason, Reply
from epollo.engine.replies import messages_of
from epollo.errors import ConnectionClosed
from epollo.framing import Buffer
from epollo.server.application_protocol import ApplicationProtocol
from epollo.testing.calling import awaited, finished


class Memory:
    """An `epollo.Connection` without socket, thread or loop."""

    def __init__(self, protocol: ApplicationProtocol, peername: str) -> None:
        self.state: Any = None
        self.sent: list[bytes] = []
        """The messages that the peer was sent until now."""
        self.reason: CloseReason | None = None
        """Why it is closed, or about to be."""
        self.error: BaseException | None = None
        self.in_flight = 0
        self._protocol = protocol
        self._peername = peername
        self._encode = protocol.framing.encode
        self._decoders = protocol.framing.decoder(), protocol.framing.decoder()  # there, here
        self._waiting: deque[bytes] = deque()  # received, and not yet handed to the handler
        self._turn_began = 0  # the length of `sent` then
        self._async = self._turning = self._paused = self._sealed = False
        self._established = self._closed = self._told = False

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
        return self._protocol.groups.of(self)

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
        self._protocol.groups.join(group, self)

    def leave(self, group: str) -> None:
        """Be none of ``group``."""
        self._protocol.groups.leave(group, self)

    def defer(self, count: int = 1) -> None:
        """The reply to the message being handled comes later, by `answer`."""
        self.in_flight += count

    def answer(self, reply: Reply, count: int = 1) -> None:
        """Send the reply to a deferred message."""
        self.in_flight -= count
        try:
            with self._turn():
                if self._answers:
                    self.reply(reply)
        finally:
            self._serve()

    @property
    def tls(self) -> None:
        """There is none in memory."""

    def fail(self, error: BaseException, count: int = 1) -> None:
        """The handler raised for a deferred message: that is raised here."""
        self.in_flight -= count
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
        busy = self._turning or self.in_flight >= self._protocol.limits.in_flight
        return bool(self._waiting) and not (busy or self._paused or self._sealed)

    @property
    def _answers(self) -> bool:
        """Is what is in flight still to be answered? Behind a close too."""
        return not self._sealed or self.reason is CloseReason.LOCAL

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
                        result = self._protocol.application.received(self._waiting.popleft(), self)
                        self.reply(finished(result))
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
        except BaseException as error:
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
            finished(self._disconnect())

    async def _tell_closed_async(self) -> None:
        if self._must_tell():
            await awaited(self._disconnect())

    def _must_tell(self) -> bool:
        due = self._closed and self._established and not self._told and not self._turning
        self._told = self._told or due
        return due

    def _disconnect(self) -> object:
        assert self.reason is not None
        self._protocol.groups.forget(self)
        return self._protocol.application.disconnected(self, self.reason)
