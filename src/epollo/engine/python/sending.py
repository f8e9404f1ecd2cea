"""Bytes out: one send for the replies of a turn, and the rest when the kernel takes it."""

from __future__ import annotations

import socket

from epollo.engine import CloseReason
from epollo.engine.python.context import Plan
from epollo.engine.python.endpoint import Endpoint

# Replies go out when the turn ends, so that a peer woken by the first of them finds more of them.
# A large one goes at once: while it waited for the others' turn, it would fall out of the cache.
SEND_NOW = 4 << 10

# In place of the head while the kernel is given bytes. A signal handler or a finalizer may run at
# that moment, and send on the same connection: its frame then waits in the outbox.
_BEING_SENT = memoryview(b"")


class Sender(Endpoint):
    """The part of a connection that gives its bytes to the kernel."""

    __slots__ = ("_head", "_outbox", "unsent")

    def __init__(self, plan: Plan, sock: socket.socket) -> None:
        super().__init__(plan, sock)
        self.unsent = 0
        self._outbox: list[bytes] = []  # frames not yet offered to the kernel
        self._head: memoryview | None = None  # what it did not take of those offered

    def queue(self, frame: bytes) -> None:
        """Send ``frame`` when the turn ends, or now, where too much is queued."""
        self.heard = self.plan.loop.tick
        size = len(frame)
        self._outbox.append(frame)
        self.unsent += size
        if self.unsent > self._room():
            self._relieve()
        self.unsettle()

    def transmit(self, data: bytes) -> None:
        """Send bytes as they are, behind those of which the kernel took only a part."""
        if data:
            size = len(data)
            self._head = memoryview(data if self._head is None else bytes(self._head) + data)
            self.unsent += size
            self.flush_head()
            self.unsettle()

    queue_raw = transmit

    def discard(self) -> None:
        """Nothing more will be sent: let go of what was to be."""
        self._outbox.clear()
        self._head = None
        self.unsent = 0

    def flush(self) -> None:
        """Offer the kernel, once, all that is queued. It may take a part of it, or nothing."""
        if self._head is not None or not self._outbox:
            return
        self._head = _BEING_SENT
        outbox, self._outbox = self._outbox, []
        data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        if self.filter_io is not None:
            size = len(data)
            self._head = None
            self.unsent -= size
            self.send_filtered(data)
        else:
            self._offer(data)

    def flush_head(self) -> None:
        """Offer the kernel, once, the rest of what it took only a part of."""
        head = self._head
        if head is not None and head is not _BEING_SENT:
            self._head = _BEING_SENT
            if self._offer(head):
                self.stuck = self.plan.loop.tick

    def send_unsent(self) -> None:
        """The kernel has room again: offer it what is left, once."""
        if self._head is None:
            self.flush()
        else:
            self.flush_head()

    def _offer(self, data: bytes | memoryview) -> int:
        """Send ``data``, keep what the kernel does not take; returns how many bytes it took."""
        try:
            sent = self.socket.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:  # ECONNRESET, EPIPE: the peer is gone
            self.drop(CloseReason.RESET, error)
            return 0
        except BaseException as error:  # of a signal handler: how much was sent is not known
            self.drop(CloseReason.HANDLER_ERROR, error)
            raise
        if self._head is not None:  # else a signal handler has dropped the connection
            self.unsent -= sent
            # A view, so that a large rest is not copied anew for each small part that is taken.
            self._head = None if sent == len(data) else memoryview(data)[sent:]
        return sent

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
