"""Bytes out: one send for the replies of a turn, and the rest when the kernel takes it."""

from __future__ import annotations

import socket

from epollo.engine import CloseReason
from epollo.engine.python.endpoint import Endpoint
from epollo.engine.python.plan import Plan

# Replies go out when the turn ends, so that a peer woken by the first of them finds more of them.
# A large one goes at once: while it waited for the others' turn, it would fall out of the cache.
SEND_NOW = 4 << 10


class Sender(Endpoint):
    """The part of a connection that gives its bytes to the kernel."""

    __slots__ = ("_head", "_outbox", "unsent")

    def __init__(self, plan: Plan, sock: socket.socket) -> None:
        super().__init__(plan, sock)
        self.unsent = 0
        self._outbox: list[bytes] = []  # frames not yet offered to the kernel
        self._head: memoryview | None = None  # the bytes of which it took only a part

    def queue(self, frame: bytes) -> None:
        """Send ``frame`` when the turn ends, or now, where too much is queued."""
        self.heard = self.plan.loop.tick
        self._outbox.append(frame)
        self.unsent += len(frame)
        if self.unsent > self._room():
            self._relieve()
        self.unsettle()

    def transmit(self, data: bytes) -> None:
        """Send bytes as they are, behind those of which the kernel took only a part."""
        if data:
            self._head = memoryview(data if self._head is None else bytes(self._head) + data)
            self.unsent += len(data)
            self.flush_head()
            self.unsettle()

    def discard(self) -> None:
        """Nothing more will be sent: let go of what was to be."""
        self._outbox.clear()
        self._head = None
        self.unsent = 0

    def flush(self) -> None:
        """Offer the kernel, once, all that is queued. It may take a part of it, or nothing."""
        outbox = self._outbox
        if self._head is not None or not outbox:
            return
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        if self.filter is not None:
            self.unsent -= len(data)
            self.transmit(self.wrap(data))
            return
        if not data:  # empty messages, of a framing that adds nothing to them
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:  # ECONNRESET, EPIPE: the peer is gone
            self.drop(CloseReason.RESET, error)
            return
        self.unsent -= sent
        if sent != len(data):
            # A view, so that a large rest is not copied anew for each small part that is taken.
            self._head = memoryview(data)[sent:]

    def flush_head(self) -> None:
        """Offer the kernel, once, the rest of what it took only a part of."""
        assert self._head is not None
        try:
            sent = self.socket.send(self._head)
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(CloseReason.RESET, error)
            return
        self.unsent -= sent
        self.stuck = self.plan.loop.tick
        self._head = self._head[sent:] or None

    def _room(self) -> int:
        """Bytes that may be queued before something is done about them."""
        return SEND_NOW if self._head is None else 0

    def _relieve(self) -> None:
        """Much is queued, or the kernel takes no more: send, or mind the marks, now."""
        if self.closed:
            self.discard()
            return
        if self.unsent > self.protocol.limits.high_water and self._head is not None:
            self.flush_head()  # a peer that reads meanwhile is not slow
        self.flush()
        self.mind_marks()
        self.unsettle()
