"""Flow control: who is not read, or not handed to the handler, for now; and what is waited for.

A peer is held back by the handler's own wish, by messages in flight, or because it takes too
little of what it is sent. What it sends meanwhile stays in the kernel's buffers, and then in its
own (TCP's window, RFC 9293, 3.8.6).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from operator import length_hint

from epollo.engine import CloseReason
from epollo.engine.ending import Ending
from epollo.engine.events import READ, WRITE


class FlowControl(Ending):
    """When a connection is read, and its handler hears of it."""

    __slots__ = ()

    def pause_reading(self) -> None:
        """Deliver no message until ``resume_reading``; the kernel's buffers hold the peer back."""
        if not self._leave_to_loop(self.pause_reading):
            self._paused = self._holding = True
            self.unsettle()

    def resume_reading(self) -> None:
        """Deliver messages again."""
        if not self._leave_to_loop(self.resume_reading):
            self._paused = False
            self._hold()
            self.unsettle()

    def _hold(self) -> None:
        """Is the handler to hear no more for now?"""
        self._holding = self._paused or self._sealed or self._waits()

    def _waits(self) -> bool:
        """Does it wait for its peer to take what it is sent, or for replies that are to come?"""
        return self._flooded or self.in_flight >= self.protocol.limits.in_flight

    def _hold_back(self, waiting: Iterator[bytes]) -> None:
        """The handler is to hear no more for now, or ever, of what was received."""
        if self.closed:
            self.discard()
        elif not self._sealed and length_hint(waiting):
            self._inbox = waiting

    def mind_marks(self) -> None:
        """Hold back a peer that takes too little of what it is sent, or close it.

        It is let go on at half the mark, as Netty does, not at every byte below it.
        """
        limits = self.protocol.limits
        if self.unsent > limits.max_unsent:
            self.drop(CloseReason.SLOW_CONSUMER)
        elif self.unsent > limits.high_water:
            self._flooded = True
        elif self.unsent <= limits.high_water // 2:
            self._flooded = False
        self._hold()

    def put_off(self, events: int) -> None:
        """The poller tells of something to read, or of an end, while reading is held back."""
        # Asked for in any case: select(2) tells of an error as of something to read.
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.drop(CloseReason.RESET, OSError(code, os.strerror(code)))
        elif events & READ:
            if self._events & READ:
                self._events &= ~READ
                self.loop.watch(self.fd, self, self._events)
        elif self.unsent:  # for a peer that will read no more
            if not events & WRITE:
                self.drop(CloseReason.RESET)
        else:  # What the peer sent before it left is still to be read: look away until then.
            self._events = 0
            self.loop.look_away(self.fd)

    def _await(self) -> None:
        """Ask the poller for what the connection waits for, where that has changed."""
        events = self._reading()
        if self.unsent:
            # Room to send is the usual state of a socket: asked for without need, a
            # level-triggered poller would wake the loop at every turn.
            events |= WRITE
        if events != self._events:
            self._events = events
            self.loop.watch(self.fd, self, events)

    def _reading(self) -> int:
        """READ where it is wanted. Held back only by messages in flight, a connection leaves it as
        it is: the replies come mostly before there is more to read, see `put_off`."""
        if self.reason is not None or self._paused or self._flooded:
            return 0
        return self._events & READ if self._holding else READ
