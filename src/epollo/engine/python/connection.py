"""One connection: bytes in, messages to the handler, replies out. What happens per message."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from epollo.engine import CloseReason
from epollo.engine.events import READ, WRITE
from epollo.engine.python.context import Plan
from epollo.engine.python.sending import SEND_NOW, Sender
from epollo.errors import FrameError


class Connection(Sender):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = ("_decoder",)

    def __init__(self, plan: Plan, sock: socket.socket) -> None:
        super().__init__(plan, sock)
        self._decoder = plan.protocol.framing.decoder()

    def ready(self, events: int) -> None:
        """The poller says that there is something; one recv, for the others are waiting too."""
        # An earlier handler of the same batch may have paused this connection, or closed it; and
        # what was held back comes before what is still to be read.
        if (events != READ or self._holding or self._inbox) and not self._may_read(events):
            return
        buffer = self.plan.buffer
        try:
            count = self.socket.recv_into(buffer)
        except BlockingIOError:  # readiness is a hint: select(2), BUGS
            return
        except OSError as error:
            self.drop(CloseReason.RESET, error)
            return
        self.heard = self.plan.loop.tick
        if self.filter_io is not None:
            self.filtered(bytes(buffer[:count]))
            return
        if not count:
            self.end_of_stream()
            return
        try:
            messages = self._decoder.feed_from(buffer, count)
        except BaseException as error:
            if isinstance(error, FrameError):
                self.serve(error.messages)
            self.bad_stream(error)
        else:
            self.serve(messages)

    def feed(self, plain: bytes) -> None:
        """Serve the messages of what a filter gave; keep them where the handler may hear none."""
        try:
            messages, fault = self._decoder.feed(plain), None
        except BaseException as error:
            messages, fault = getattr(error, "messages", []), error
        if self._holding:
            self._hold_back(iter(messages))
        else:
            self.serve(messages)
        if fault is not None:
            self.bad_stream(fault)

    def serve(self, messages: Iterable[bytes]) -> None:
        """Hand the messages to the handler, in order; queue what it answers."""
        plan = self.plan
        received, encode = plan.received, plan.encode
        waiting = iter(messages)
        if messages:
            self.begun = plan.loop.tick
        room = SEND_NOW if self._head is None else 0
        try:
            for message in waiting:
                reply = received(message, self)
                if type(reply) is bytes:
                    frame = encode(reply)
                    size = len(frame)
                    self._outbox.append(frame)
                    self.unsent = unsent = self.unsent + size
                    if unsent > room:
                        self._relieve()
                        room = SEND_NOW if self._head is None else 0
                elif reply is not None:
                    self.reply(reply)
                if self._holding:
                    self._hold_back(waiting)
                    break
        except BaseException as error:
            self.handler_raised(error)
        if self._outbox or self.unsent:
            plan.dirty.append(self)

    def check_eof(self) -> None:
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        self._decoder.eof()

    def midway(self) -> bool:
        """Is a frame begun, and not complete?"""
        try:
            self._decoder.eof()
        except BaseException as error:  # FrameError, or whatever a user's own decoder raises
            self.loop.pass_on(error)
            return True
        return False

    def _may_read(self, events: int) -> bool:
        """Attend to what the poller tells besides, or instead of, bytes to read."""
        if events & WRITE and self.unsent:
            self.send_unsent()
            self.unsettle()
        if self.closed or not events & ~WRITE:
            return False
        if not self._holding and self.reason is None:
            return not self._inbox  # which comes first, when the turn ends
        self.put_off(events)
        return False
