"""One connection: bytes in, messages to the handler, replies out. What happens per message."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Protocol

from epollo import address
from epollo.engine import CloseReason, ConnectionProtocol
from epollo.engine.events import READ, WRITE
from epollo.engine.filter import Filter
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.source import Watcher
from epollo.engine.stage import Stage
from epollo.errors import FrameError

# Replies go out when the turn ends, so that a peer woken by the first of them finds more of them.
# A large one goes at once: while it waited for the others' turn, it would fall out of the cache.
SEND_NOW = 4 << 10


class BufferedWatcher(Watcher, Protocol):
    """What a connection asks of its loop, and what all of them share there."""

    buffer: memoryview  # to read into
    dirty: list[Any]


class Plan:
    """What the connections of one protocol on one loop have in common."""

    __slots__ = ("buffer", "dirty", "encode", "filters", "loop", "protocol", "received")

    def __init__(self, loop: BufferedWatcher, protocol: ConnectionProtocol) -> None:
        self.loop = loop
        self.protocol = protocol
        self.received = protocol.received
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.buffer = loop.buffer
        self.dirty = loop.dirty


class Connection(Lifecycle):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = (
        "_decoder",
        "_draining",
        "_events",
        "_flooded",
        "_head",
        "_holding",
        "_inbox",
        "_outbox",
        "_paused",
        "_sealed",
        "begun",
        "error",
        "established",
        "fd",
        "filter",
        "heard",
        "in_flight",
        "peer",
        "plan",
        "reason",
        "socket",
        "stage",
        "state",
        "stuck",
        "unsent",
        "unsettled",
    )

    plan: Plan

    def __init__(self, plan: Plan, sock: socket.socket) -> None:
        self.plan = plan
        self.socket = sock
        self.fd = sock.fileno()
        self.state: Any = None
        self.reason: CloseReason | None = None
        self.error: Exception | None = None
        self.stage = Stage.CONNECTING
        self.peer: str | None = None
        self.filter: Filter | None = None
        self.unsent = 0
        self._decoder = plan.protocol.framing.decoder()
        self._events = 0
        self._inbox: Iterable[bytes] = ()
        self._outbox: list[bytes] = []  # frames not yet offered to the kernel
        self._head: memoryview | None = None  # the bytes of which it took only a part
        self.in_flight = 0
        self.heard = self.begun = self.stuck = plan.loop.tick
        self.unsettled = self.established = False
        self._holding = self._paused = self._flooded = self._sealed = self._draining = False

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
        if self.filter is not None:
            self.filtered(bytes(buffer[:count]))
            return
        try:
            messages = self._decoder.feed_from(buffer, count)
        except Exception as error:
            if isinstance(error, FrameError):
                self.serve(error.messages)
            self.bad_stream(error)
        else:
            if count:
                self.serve(messages)
            else:
                self.end_of_stream()

    def feed(self, plain: bytes) -> None:
        """Serve the messages of what a filter gave; keep them where the handler may hear none."""
        try:
            messages, fault = self._decoder.feed(plain), None
        except Exception as error:
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
                    self._outbox.append(frame)
                    self.unsent = unsent = self.unsent + len(frame)
                    if unsent > room:
                        self._relieve()
                        room = self._room()
                elif reply is not None:
                    self.reply(reply)
                if self._holding:
                    self._hold_back(waiting)
                    break
        except Exception as error:
            self.handler_raised(error)
        if self._outbox or self.unsent:
            plan.dirty.append(self)

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

    def transmit(self, data: bytes) -> None:
        """Send bytes as they are, behind those of which the kernel took only a part."""
        if data:
            self._head = memoryview(data if self._head is None else bytes(self._head) + data)
            self.unsent += len(data)
            self.flush_head()
            self.unsettle()

    def queue(self, frame: bytes) -> None:
        """Send ``frame`` when the turn ends, or now, where too much is queued."""
        self.heard = self.plan.loop.tick
        self._outbox.append(frame)
        self.unsent += len(frame)
        if self.unsent > self._room():
            self._relieve()
        self.unsettle()

    def find_peer(self) -> None:
        """Remember who the peer is. Raises OSError where not connected."""
        self.peer = str(address.of(self.socket.getpeername()))

    def check_eof(self) -> None:
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        self._decoder.eof()

    def midway(self) -> bool:
        """Is a frame begun, and not complete?"""
        try:
            self._decoder.eof()
        except Exception:  # FrameError, or whatever a user's own decoder raises
            return True
        return False

    def release(self) -> None:
        """Give the descriptor back to the kernel."""
        self.socket.close()

    def discard(self) -> None:
        """Nothing more will be sent: let go of what was to be."""
        self._outbox.clear()
        self._head = None
        self.unsent = 0

    def _may_read(self, events: int) -> bool:
        """Attend to what the poller tells besides, or instead of, bytes to read."""
        if events & WRITE and self._head is not None:
            self.flush_head()
            self.unsettle()
        if self.closed or not events & ~WRITE:
            return False
        if not self._holding and self.reason is None:
            return not self._inbox  # which comes first, when the turn ends
        self.put_off(events)
        return False

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
