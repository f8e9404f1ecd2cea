"""One connection: bytes in, messages to the handler, replies out. The work per message."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from functools import partial
from operator import length_hint
from typing import Any

from epollo import address
from epollo.engine.connection import CLOSED, NEW_IDS, BaseConnection, Stage
from epollo.engine.events import READ, WRITE
from epollo.engine.filter_io import FilterIO
from epollo.engine.held_back import HeldRead
from epollo.engine.pauses import PHASE
from epollo.engine.pushes import MOST_JOINED, SMALL
from epollo.engine.python.context import ConnectionContext
from epollo.framing import Framing
from epollo.framing.base import Continued
from epollo.framing.reframing import bytes_of, piece_size, rest_of
from epollo.reasons import CloseReason

# Replies go out when the turn ends, so that a peer woken by the first of them finds more of them.
# A large one goes at once: by the end of the turn it would have left the processor's cache.
SEND_NOW = 4 << 10

# Stands for the tick at which something has begun if no look of a sweep has seen that.
NOT_BEGUN = -1

# In place of the head while the kernel is given bytes. A signal handler or a finalizer may run at
# that moment, and send on the same connection: its frame then waits in the outbox.
_BEING_SENT = memoryview(b"")


class Connection(BaseConnection):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = (
        "_decoder",
        "_events",
        "_head",
        "bytes_in",
        "bytes_out",
        "context",
        "error",
        "established",
        "fd",
        "filter_io",
        "frame_started",
        "held_back",
        "id",
        "in_flight",
        "largest_unsent",
        "last_activity",
        "messages_in",
        "messages_out",
        "outbox",
        "paused",
        "peer",
        "reason",
        "since",
        "socket",
        "stage",
        "state",
        "unsent",
        "update_due",
        "write_progress",
    )

    context: ConnectionContext
    paused: int
    in_flight: int
    unsent: int
    largest_unsent: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    update_due: bool
    established: bool
    last_activity: int
    frame_started: int
    write_progress: int

    def __init__(self, context: ConnectionContext, sock: socket.socket) -> None:
        self.context = context
        self.id: int = next(NEW_IDS)
        self.since: float = time.monotonic()
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.socket: socket.socket = sock
        self.fd: int = sock.fileno()
        self.state: Any = None
        self.stage: int = Stage.CONNECTING
        self.reason: CloseReason | None = None
        self.error: BaseException | None = None
        self.peer: str | None = None
        self.filter_io: FilterIO | None = None
        self.paused = self.in_flight = self._events = self.unsent = self.largest_unsent = 0
        self.update_due = self.established = False
        self.last_activity = context.loop.tick
        self.frame_started = self.write_progress = NOT_BEGUN
        self.held_back: Iterable[bytes] = ()
        # Frames not yet offered to the kernel; an idle connection has no list for them.
        self.outbox: list[bytes | bytearray] | tuple[()] = ()
        self._head: memoryview | None = None  # the part of an earlier offer that it did not take
        self._decoder = context.framing.decoder()

    def find_peer(self) -> None:
        """Remember the peer's address. Raises OSError if not connected."""
        self.peer = address.peer_name(self.socket.getpeername())

    def release(self) -> None:
        """Give the descriptor back to the kernel."""
        self.socket.close()

    # ---- Counters

    def count_bytes(self, received: int, sent: int) -> None:
        """Count more bytes, if it counts."""
        if self.context.counts:
            self.bytes_in += received
            self.bytes_out += sent

    def count_in(self, messages: int) -> None:
        """Count more messages of the peer, if it counts; or fewer."""
        if self.context.counts:
            self.messages_in += messages

    def _count_undelivered(self, messages: int) -> None:
        """The handler has raised before these, which were counted; or they are cut anew."""
        self.count_in(-messages)
        self.context.loop.read_messages -= messages

    def count_out(self, messages: int) -> None:
        """Count more messages for the peer, if it counts."""
        if self.context.counts:
            self.messages_out += messages

    # ---- Bytes in

    def ready(self, events: int) -> None:
        """The poller reports ``events``; one recv, since other connections wait, too."""
        # An earlier handler of the same batch may have paused this connection, or closed it; and
        # messages that were held back come before bytes that are still to be read.
        if (events != READ or self.paused or self.held_back) and not self._may_read(events):
            return
        context = self.context
        buffer = context.buffer
        try:
            count = self.socket.recv_into(buffer)
        except BlockingIOError:  # readiness is a hint: select(2), BUGS
            return
        except OSError as error:
            self.drop(CloseReason.RESET, error)
            return
        self.last_activity = context.loop.tick
        if self.filter_io is not None:
            if context.counts:
                self.bytes_in += count
            self.filter_io.receive(self, bytes(buffer[:count]))
            if context.counts_growth:
                self._count_kept(count)
            return
        if not count:
            self.end_of_stream()
            return
        try:
            messages = self._decoder.feed_from(buffer, count)
        except BaseException as error:
            messages = getattr(error, "messages", [])
            if context.counts:
                self.bytes_in += count
                read = len(messages)
                self.messages_in += read
                context.loop.read_messages = read
            left = len(messages) if self.paused else self.serve(messages)
            if left is not None:
                self._stopped(context.framing, buffer[:count], messages, left, error)
            else:
                self.bad_stream(error)
        else:
            if context.counts:
                self.bytes_in += count
                read = len(messages)
                self.messages_in += read
                context.loop.read_messages = read
            left = len(messages) if self.paused else self.serve(messages)
            if left is not None:
                self._stopped(context.framing, buffer[:count], messages, left)
            if context.counts_growth:
                self._count_kept(count)

    def _count_kept(self, count: int) -> None:
        """A read of ``count`` bytes was served: tell the loop if a part of it has to be kept."""
        if self.held_back or self._decoder.partial:
            self.context.loop.growth.add(count)

    def _may_read(self, events: int) -> bool:
        """Handle everything that is not simply bytes to read. May it be read then?"""
        if events & WRITE and self.unsent:
            self.send_unsent()
            self.schedule_update()
        if self.closed or not events & ~WRITE:
            return False
        if not self.paused and self.reason is None:
            return not self.held_back  # which comes first, when the turn ends
        self.on_event_while_paused(events)
        return False

    def feed(self, plain: bytes) -> None:
        """Serve the messages in ``plain``, which a filter gave; keep them while paused."""
        if self.paused & PHASE:
            self.begin_phase(self.partial_bytes)
        framing = self.context.framing
        messages, fault = self._decode(memoryview(plain))
        left = len(messages) if self.paused else self.serve(messages)
        if left is not None:
            self._stopped(framing, plain, messages, left, fault)
        elif fault is not None:
            self.bad_stream(fault)

    def _decode(self, data: memoryview) -> tuple[list[bytes], BaseException | None]:
        """The messages of ``data``, and the fault behind them."""
        fault = None
        try:
            messages = self._decoder.feed_from(data, len(data))
        except BaseException as error:
            messages, fault = getattr(error, "messages", []), error
        if self.context.counts:
            self.messages_in += len(messages)
            self.context.loop.read_messages += len(messages)
        return messages, fault

    def check_eof(self) -> None:
        """The stream has ended. Raises FrameTruncated inside a frame."""
        self._decoder.eof()

    def has_partial_frame(self) -> bool:
        """Has a frame begun that is not complete?"""
        return bool(self._decoder.partial)

    def partial_size(self) -> int:
        """Bytes of the incomplete frame."""
        return self._decoder.partial_size

    def partial_bytes(self) -> bytes:
        """Those bytes. Raises PhaseError if they are not known."""
        return rest_of(self.context.framing, self._decoder.partial_bytes)

    # ---- Deadlines. Many ticks may pass from one look of a sweep to the next (`Loop.sweep`). For a
    # frame that begins in between, they count from the next one on: no peer is ended too early.

    def frame_ticks(self, reads: bool) -> int:
        """For how many ticks, at least, a frame has been incomplete, while it ``reads``."""
        loop = self.context.loop
        if not reads or not self.in_frame:
            self.frame_started = NOT_BEGUN
            return 0
        if self.frame_started == NOT_BEGUN:
            self.frame_started = loop.seen_at
        return loop.tick - self.frame_started

    def write_ticks(self) -> int:
        """For how many ticks, at least, the peer has taken nothing that it was offered."""
        loop = self.context.loop
        if self._head is None:
            self.write_progress = NOT_BEGUN
            return 0
        if self.write_progress == NOT_BEGUN:
            self.write_progress = loop.seen_at
        return loop.tick - self.write_progress

    # ---- Phases

    def use_context(self, context: ConnectionContext) -> None:
        """Encode by another framing from now on, and decode by it once the phase has begun."""
        self.context = context

    def cut(self, data: bytes) -> None:
        """Serve the messages in ``data`` by the framing that holds now, and by the next one if it
        changes again."""
        at: int | None = 0
        while at is not None and self.phase_begins(len(data) - at):
            self._decoder = self.context.framing.decoder()
            at = self._cut_phase(data, at)

    def _cut_phase(self, data: bytes, start: int) -> int | None:
        """Where the next phase begins; None if this one does not end in ``data``."""
        framing, at = self.context.framing, start
        while at < len(data) and self.takes_messages:
            size = len(data) - at if self.paused else piece_size(framing, len(data) - at)
            piece = memoryview(data)[at : at + size]
            messages, fault = self._decode(piece)
            left = len(messages) if self.paused else self.serve(messages)
            if left is None:
                if fault is not None:
                    self.bad_stream(fault)
                    return None
                at += size
            elif self.paused & PHASE:
                self._count_undelivered(left)
                return at + bytes_of(framing, piece, messages, len(messages) - left)
            else:
                if fault is None:
                    more, fault = self._decode(memoryview(data)[at + size :])
                    messages, left = messages + more, left + len(more)
                read = HeldRead(framing, data[start:], fault)
                self.hold_back(iter(messages[len(messages) - left :]), read)
                return None
        return None

    def _stopped(
        self,
        framing: Framing,
        data: bytes | memoryview,
        messages: list[bytes],
        left: int,
        fault: BaseException | None = None,
    ) -> None:
        """Delivery of ``messages``, which were in ``data``, was paused with some of them ``left``:
        hold them back; or cut them anew, if a phase begins."""
        if not left and fault is None and not self.paused & PHASE:
            return
        begin = messages.begin if isinstance(messages, Continued) else 0
        held = bytes(data[begin:]) if begin >= 0 else None
        read = HeldRead(framing, held, fault)
        if self.paused & PHASE and self.takes_messages:
            self._count_undelivered(left)
            self.begin_phase(partial(read.behind, left))
        else:
            self.hold_back(iter(messages[len(messages) - left :]), read)

    # ---- Messages

    def serve(self, messages: Iterable[bytes]) -> int | None:
        """Deliver the messages, in order; queue the replies. Returns how many are left if delivery
        was paused before the end, and None if it was not."""
        context = self.context
        received, wants_connection = context.received, context.wants_connection
        encode = context.encode
        waiting = iter(messages)
        if messages:
            self.frame_started = NOT_BEGUN
        limit = SEND_NOW if self._head is None else 0
        left: int | None = None
        try:
            for message in waiting:
                reply = received(message, self) if wants_connection else received(message)
                if type(reply) is bytes and not self.paused:
                    frame = encode(reply)
                    size = len(frame)
                    if not self.outbox:
                        empty: list[bytes | bytearray] = []  # a finalizer may run, and send
                        self.outbox = self.outbox or empty
                    self.outbox.append(frame)
                    self.unsent = unsent = self.unsent + size
                    if unsent <= limit:
                        continue
                    self._relieve()
                    limit = SEND_NOW if self._head is None else 0
                elif reply is not None:
                    self.reply(reply)  # by a new framing, if a phase begins
                if self.paused:
                    left = length_hint(waiting)
                    if self.stage == CLOSED:
                        self.discard()
                    break
        except BaseException as error:
            self._count_undelivered(length_hint(waiting))
            self.handler_raised(error)
        if self.outbox or self.unsent:
            context.to_flush.append(self)
        return left

    # ---- Bytes out: one send for the replies of a turn, and the rest when the kernel takes it

    def queue(self, frame: bytes) -> None:
        """Send ``frame`` when the turn ends, or now, if too much is queued."""
        self.last_activity = self.context.loop.tick
        size = len(frame)
        if not self.outbox:
            empty: list[bytes | bytearray] = []  # a finalizer may run, and send
            self.outbox = self.outbox or empty
        self.outbox.append(frame)
        self.unsent += size
        if self.unsent > (SEND_NOW if self._head is None else 0):
            self._relieve()
        self.schedule_update()

    def transmit(self, data: bytes) -> None:
        """Send bytes as they are, behind those that the kernel has not taken yet."""
        if data and self.stage != CLOSED:
            size = len(data)
            self._head = memoryview(data if self._head is None else bytes(self._head) + data)
            self.unsent += size
            self._send_head()
            if self.unsent or self.paused or self._events & WRITE:
                self.context.loop.growth.add(min(size, self.unsent))
                self.schedule_update()

    queue_raw = transmit

    def settle_output(self) -> None:
        """Send what is queued as it is, behind what the kernel has not taken yet."""
        outbox, self.outbox = self.outbox, ()
        data = b"".join(outbox)
        self.unsent -= len(data)
        self.count_out(len(outbox))
        self.transmit(data)

    def discard(self) -> None:
        """Forget all output."""
        if self.context.counts:
            self.messages_out += len(self.outbox)
        self.outbox = ()
        self._head = None
        self.unsent = 0

    def flush(self) -> None:
        """Offer the kernel, once, everything that is queued. It may take a part, or nothing."""
        if self._head is not None or not self.outbox:
            return
        self._head = _BEING_SENT
        outbox, self.outbox = self.outbox, ()
        frames = len(outbox)
        data = outbox[0] if frames == 1 else b"".join(outbox)
        if self.filter_io is not None:
            size = len(data)
            self._head = None
            self.unsent -= size
            if self.context.counts:
                self.messages_out += frames
            self.filter_io.send(self, bytes(data))
            return
        sent = self._offer(data)
        if self.context.counts:
            self.messages_out += frames
            self.bytes_out += sent
        if self._head is not None:
            self.context.loop.growth.add(len(self._head))

    def send_unsent(self) -> None:
        """The kernel has room again: offer it the unsent bytes, once."""
        if self._head is None:
            self.flush()
        else:
            self._send_head()

    def _send_head(self) -> None:
        head = self._head
        if head is not None and head is not _BEING_SENT:
            self._head = _BEING_SENT
            if sent := self._offer(head):
                if self.context.counts:
                    self.bytes_out += sent
                self.write_progress = NOT_BEGUN if self._head is None else self.context.loop.tick

    def _offer(self, data: bytes | bytearray | memoryview) -> int:
        """Send ``data``, keep the part that the kernel does not take; returns the bytes it took."""
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
            # A view, so that a large remainder is not copied for each small part that is taken.
            self._head = None if sent == len(data) else memoryview(data)[sent:]
        return sent

    def _count_last(self) -> None:
        """Remember the largest frame; and join small ones that have to wait."""
        outbox = self.outbox
        size = len(outbox[-1]) if outbox else 0
        if self._head is None:
            self.largest_unsent = size
        else:
            self.largest_unsent = max(size, self.largest_unsent)
            self.context.loop.growth.add(size)
            if outbox and 0 < size < SMALL:
                self._join_last(outbox)

    def _join_last(self, outbox: list[bytes | bytearray]) -> None:
        """Join the last frame to those before. A signal handler may send, and so flush, at any
        call: so look again before the change, in which there is no call."""
        before, frame = outbox[-2] if len(outbox) > 1 else b"", outbox[-1]
        if type(before) is bytearray and len(before) < MOST_JOINED:
            if self.outbox is outbox and outbox and outbox[-1] is frame:
                before += frame
                del outbox[-1]
                self.count_out(1)
        elif type(frame) is bytes:
            joined = bytearray(frame)
            if self.outbox is outbox and outbox and outbox[-1] is frame:
                outbox[-1] = joined

    def _relieve(self) -> None:
        """Much is queued, or the kernel takes no more: send, or check the watermarks, now."""
        if self.closed:
            self.discard()
            return
        self._count_last()
        if self.unsent > self.protocol.limits.high_water and self._head is not None:
            self._send_head()  # a peer that reads meanwhile is not slow
        self.flush()
        self.check_watermarks()
        self.schedule_update()
