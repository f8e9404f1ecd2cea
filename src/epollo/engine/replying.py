"""What a handler has to say: replies, at once or later, and messages that are none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from epollo.engine.flow import FlowControl
from epollo.engine.reply import messages_of
from epollo.engine.stage import Stage
from epollo.errors import ConnectionClosed

if TYPE_CHECKING:
    from epollo.engine import Reply
    from epollo.framing import Buffer


class Replying(FlowControl):
    """Takes messages for the peer: from the handler in the loop's thread, and from others."""

    __slots__ = ()

    def send(self, message: Buffer) -> None:
        """Queue one message, from any thread. Raises EncodeError and ConnectionClosed."""
        frame = self.plan.encode(message)
        if self.stage is not Stage.OPEN or self._sealed:
            raise ConnectionClosed(f"{self!r} takes no messages")
        if not self._leave_to_loop(partial(self.push, frame)):
            self.queue(frame)

    def push(self, frame: bytes) -> None:
        """Queue a frame that is made already; nothing where the connection takes no more."""
        if self.stage is Stage.OPEN and not self._sealed:
            self.queue(frame)

    def reply(self, reply: Reply) -> None:
        """Queue what a handler returned: one message, or several of them."""
        for message in messages_of(reply):
            self.queue(self.plan.encode(message))
            if self.closed:
                break

    def defer(self, count: int = 1) -> None:
        """The reply to the message being handled comes later, by `answer`. It takes the place of
        ``count`` messages in flight."""
        self.in_flight += count
        self._hold()

    def answer(self, reply: Reply, count: int = 1) -> None:
        """Send the reply to a deferred message. An invalid reply closes the connection, as an error
        of the handler does."""
        self.in_flight -= count
        self._hold()
        if reply is not None and self._answers:
            try:
                self.reply(reply)
            except BaseException as error:
                self.handler_raised(error)
        self.unsettle()

    def fail(self, error: BaseException, count: int = 1) -> None:
        """The handler of a deferred message has raised: no reply comes."""
        self.in_flight -= count
        self._hold()
        self.handler_raised(error)

    def _owes(self) -> bool:
        """Is there something to send, or still to be answered?"""
        return bool(self.unsent or (self.in_flight and self._answers))

    @property
    def _answers(self) -> bool:
        """Is what is in flight still to be answered? After a close too: a handler that closes its
        connection and then returns a reply means the reply to be sent, whether it waited or not.
        Once a handler has raised, nothing more is."""
        return not self._failed and not self.closed
