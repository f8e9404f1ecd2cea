"""The life of a connection: everything that happens to it once, nothing that happens per message.

Each engine has a class that inherits `BaseConnection` and adds the work per message: it reads, cuts
messages, calls the handler and sends. `NEXT_STAGES` is the life of a connection, and `_enter` the
only way from one stage to another.

The native engine calls the methods in `CALLED_BY_NATIVE`; a test compares the list with its source.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import partial
from itertools import count
from operator import length_hint
from typing import Any

from epollo import address
from epollo.engine.events import READ, WRITE
from epollo.engine.filter_io import FilterIO
from epollo.engine.held_back import HeldRead, compact, held_bytes
from epollo.engine.interface import ConnectionContext, ConnectionProtocol, LoopInterface
from epollo.engine.next_event import NextEvent
from epollo.engine.owning import OwningConnection, wake_writers
from epollo.engine.pauses import (
    FAILED,
    HIGH_WATER,
    IN_FLIGHT,
    PHASE,
    RATE,
    REPLYING,
    SEALED,
    USER,
)
from epollo.engine.pushes import Reframed
from epollo.engine.stages import Connecting, Handshake, Lingering, has_unread, linger_seconds
from epollo.engine.tcp_info import seconds_since_data
from epollo.errors import (
    BadMessage,
    ConnectionClosed,
    FilterError,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
)
from epollo.framing import Buffer
from epollo.reasons import CloseReason

TICKS = 0xFFFFFFFF  # the native engine counts ticks in 32 bits, and starts again at 0
NEW_IDS = count(1)  # for the connections of this process

DRAIN_READS = 64  # of one connection; a peer that never stops sending must not delay a stop


class Stage(IntEnum):
    """Where in its life a connection is."""

    CONNECTING = 1  # the connect is under way
    HANDSHAKING = 2  # its filters are being established
    OPEN = 3  # messages are delivered
    STOPPING = 4  # its server or handler drains it: what has arrived is still read and answered
    HALF_CLOSED = 5  # nothing more is read, for whatever reason; what was read is answered
    FLUSHING = 6  # nothing more is delivered; replies that are due, and output, are sent
    LINGERING = 7  # all is sent; waits until the peer has received it
    CLOSED = 8  # the descriptor is given back, or will be when the turn ends


CONNECTING, HANDSHAKING, OPEN, STOPPING, HALF_CLOSED, FLUSHING, LINGERING, CLOSED = Stage

NEXT_STAGES: dict[int, tuple[Stage, ...]] = {
    CONNECTING: (HANDSHAKING, OPEN, CLOSED),
    HANDSHAKING: (OPEN, FLUSHING, CLOSED),
    OPEN: (STOPPING, HALF_CLOSED, FLUSHING, CLOSED),
    STOPPING: (HALF_CLOSED, FLUSHING, CLOSED),
    HALF_CLOSED: (FLUSHING, CLOSED),
    FLUSHING: (LINGERING, CLOSED),
    LINGERING: (CLOSED,),
    CLOSED: (),
}


_WAITING = HIGH_WATER | IN_FLIGHT | RATE | REPLYING | PHASE  # these pauses end by themselves
_CLEAN_ENDS = (None, CloseReason.EOF, CloseReason.LOCAL, CloseReason.SHUTDOWN)
_ENDS_OF_STREAM = (CloseReason.EOF, CloseReason.TRUNCATED)
_ORDERLY = (None, CloseReason.EOF, CloseReason.RESET)  # drops that take nothing from the peer

CALLED_BY_NATIVE = (
    "bad_stream begin_phase check_watermarks drop end_of_stream forget_held_back handler_failed "
    "handler_raised hold_back on_event_while_paused phase_begins reply send start update_state"
)

_SLOTS_OF_THE_ENGINE: tuple[str, ...] = ()  # the native one keeps the data in a C struct


class BaseConnection(OwningConnection):
    """A connection without its work per message."""

    __slots__ = _SLOTS_OF_THE_ENGINE

    # Methods that the engine adds:
    ready: Callable[[int], None]
    serve: Callable[[Iterable[bytes]], int | None]  # deliver messages, send the replies; returns
    # how many are left if delivery was paused before the last
    feed: Callable[[bytes], None]  # plain bytes of a filter: cut and serve them, or hold them back
    queue: Callable[[bytes], None]  # send a frame, at the end of the turn at the latest
    transmit: Callable[[bytes], None]  # send bytes as they are, now, behind earlier ones
    queue_raw: Callable[[bytes], None]  # the same, but maybe at the end of the turn
    discard: Callable[[], None]  # forget all output
    count_bytes: Callable[[int, int], None]  # received and sent ones; nothing if it does not count
    count_in: Callable[[int], None]  # messages of the peer; the same
    count_out: Callable[[int], None]  # messages for the peer; the same
    find_peer: Callable[[], None]  # sets ``peer``; raises OSError if not connected
    check_eof: Callable[[], None]  # raises FrameTruncated inside a frame
    has_partial_frame: Callable[[], bool]
    partial_size: Callable[[], int]  # bytes of the incomplete frame
    partial_bytes: Callable[[], bytes]  # those bytes; raises PhaseError if they are not known
    release: Callable[[], None]  # closes the descriptor

    # Data:
    context: ConnectionContext
    id: int  # no other connection of this process has, or had, the same
    since: float  # time.monotonic() of its creation
    messages_in: int  # received whole; this and the next three are 0 if it does not count
    messages_out: int  # queued for the peer
    bytes_in: int  # from the kernel, with headers, TLS records and a PROXY header
    bytes_out: int  # taken by the kernel
    socket: socket.socket
    fd: int
    state: Any  # the handler's own
    stage: int  # a Stage
    reason: CloseReason | None  # why nothing more is read
    error: BaseException | None
    unsent: int  # bytes
    largest_unsent: int  # bytes of a frame that may be among them: no smaller one is larger
    filter_io: FilterIO | None  # between socket and framing, once established
    paused: int  # Pause flags; no message is delivered unless it is 0
    update_due: bool  # `update_state` is to be called at the end of the turn
    established: bool  # ``connected`` was called
    peer: str | None  # its address; None before the connection is established
    in_flight: int  # messages handed to the handler whose replies come later
    last_activity: int  # tick of the last byte that came, or was queued by others
    frame_started: int  # tick at which the incomplete frame began, as far as `frame_ticks` needs it
    write_progress: int  # tick at which the peer last took bytes; the same, for `write_ticks`
    _events: int  # what the poller watches for; 0 before `open`
    held_back: Iterable[bytes]  # messages held back while delivery is paused; () for none

    # ---- What it is

    @property
    def loop(self) -> LoopInterface:
        return self.context.loop

    @property
    def protocol(self) -> ConnectionProtocol:
        return self.context.protocol

    @property
    def closed(self) -> bool:
        return self.stage == CLOSED

    @property
    def peername(self) -> str:
        """The peer's address, as it was when the connection was established."""
        return self.peer or "(not connected)"

    @property
    def sockname(self) -> str:
        """This side's address. Raises OSError once closed."""
        return str(address.of(self.socket.getsockname()))

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state, for getpeercert() and selected_alpn_protocol(); None without TLS."""
        used = self.filter_io
        return None if used is None or used.timer is not None else used.filter.tls

    @property
    def in_frame(self) -> bool:
        """Has a frame begun that is not complete, or a record of the filter, in which one may
        begin?"""
        filter_io = self.filter_io
        if filter_io is not None and filter_io.filter.partial:
            return True
        return self.has_partial_frame()

    def frame_ticks(self, reads: bool) -> int:
        """For how many ticks a frame has been incomplete, while the connection ``reads``. To be
        asked at each look of a sweep."""
        tick = self.loop.tick
        if not reads or (self.frame_started != tick and not self.in_frame):
            self.frame_started = tick
        return (tick - self.frame_started) & TICKS

    def write_ticks(self) -> int:
        """For how many ticks the peer has taken none of its output. To be asked at each look."""
        tick = self.loop.tick
        if not self.unsent:
            self.write_progress = tick
        return (tick - self.write_progress) & TICKS

    @property
    def busy(self) -> bool:
        """Is something due: a reply, output, or the rest of a frame?"""
        due = self.unsent or self.in_flight or self.held_back or self.paused & _WAITING
        return bool(due) or self.in_frame

    def silence(self, tick_seconds: float) -> float:
        """For how many seconds, at least, no byte has come. Infinite if its handler has paused it:
        nothing would be read. Without TCP, ticks tell, which take ``tick_seconds`` each."""
        return math.inf if self.paused & USER else self.idle(tick_seconds)

    def idle(self, tick_seconds: float) -> float:
        """For how many seconds, at least, no byte has come."""
        seconds = seconds_since_data(self.fd)
        return max(0, self.idle_ticks - 1) * tick_seconds if seconds is None else seconds

    @property
    def idle_ticks(self) -> int:
        """For how many ticks no byte has come, and none was queued by others."""
        return self.loop.tick - self.last_activity & TICKS

    @property
    def buffered(self) -> int:
        """Bytes in memory: unsent ones, an incomplete frame, messages that are held back."""
        held = held_bytes(self.held_back, self.loop.held_reads.get(self))
        return self.unsent + self.partial_size() + held

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<Connection {self.peername} {Stage(self.stage).name.lower()}{why}>"

    # ---- Stages

    def _enter(self, stage: Stage) -> bool:
        """Go on to ``stage``; false if it is past that, such as by a signal handler."""
        if stage <= self.stage:
            return False
        assert stage in NEXT_STAGES[self.stage], f"{self!r} cannot become {stage.name.lower()}"
        self.stage = stage
        if stage >= FLUSHING:
            if self.held_back:
                self.forget_held_back()
            self.paused |= SEALED if stage < CLOSED else SEALED | FAILED
        return True

    def forget_held_back(self) -> None:
        """Nobody gets these messages."""
        self.loop.undelivered += length_hint(self.held_back)
        self.held_back = ()
        self.loop.held_reads.pop(self, None)

    def _seal(self) -> None:
        """Deliver nothing more."""
        self._enter(FLUSHING)

    def start(self) -> None:
        """Watch the socket: until its connect is over, or for what the peer sends."""
        try:
            self.find_peer()
        except OSError:  # ENOTCONN: under way, or over; SO_ERROR will tell
            self.loop.watch(self.fd, Connecting(self), WRITE)
        else:
            self.connect_done()

    def connect_done(self) -> None:
        """Establish the filters, if there are any, and open it then."""
        if self.context.filters is not None and (filters := self.context.filters(self)):
            if self._enter(HANDSHAKING):
                Handshake(self, filters)
        else:
            self.open()

    def open(self) -> None:
        """The filters are established: read from now on."""
        self._events = READ
        self.last_activity = self.loop.tick
        self.frame_started = self.write_progress = self.loop.not_begun
        if not self._enter(OPEN):
            return
        self.loop.watch(self.fd, self, READ)
        self.established = True
        try:
            self.context.protocol.connected(self)
        except BaseException as error:
            self.handler_failed(error)
        if self.paused or self.reason is not None:  # by the handler
            self.schedule_update()

    def refuse(self, error: FilterError) -> None:
        """The filters could not be established."""
        self.reason, self.error = CloseReason(error.reason), error
        self._finish()

    def drain(self) -> None:
        """Read what has arrived until now, answer it and send that, then close."""
        if self._call_in_loop(self.drain):
            return
        if self.stage < OPEN:
            self.drop(CloseReason.SHUTDOWN)
            return
        undelivered = self.held_back and not self.paused
        if undelivered or self.loop.dispatching or not self.loop.polling:
            self.loop.call_threadsafe(self.drain)  # handlers are called in a turn of the loop only
            return
        self._enter(STOPPING)
        self.loop.dispatching = True
        try:
            for _ in range(DRAIN_READS):
                if self.paused or self.reason is not None or not has_unread(self.socket):
                    break
                self.ready(READ)
        finally:
            self.loop.dispatching = False
        if self.reason is None and self.paused and not self.paused & USER:
            return  # `update_state` continues when a reply is sent, or the peer takes its output
        self._say_farewell()
        if not self.paused & IN_FLIGHT:  # else `update_state` continues when the hook has ended
            self.end(CloseReason.SHUTDOWN)

    def _say_farewell(self) -> None:
        """All that has come is answered: call what the server wants called before the end."""
        farewells = getattr(self.protocol, "farewells", None)
        farewell = farewells.pop(self, None) if farewells else None
        if farewell is not None and self.reason is None:
            try:
                farewell(self)
            except BaseException as error:
                self.handler_raised(error)

    def _finish(self) -> None:
        """All is answered and sent: close, and linger if a close could destroy the output, or if
        a message that crosses the end shall not be answered by a reset."""
        self._enter(FLUSHING)
        if self.filter_io is not None and self.filter_io.close(self):
            return
        crossing = self.loop.crossing_seconds if self.reason is CloseReason.SHUTDOWN else 0.0
        ended = self.reason in _ENDS_OF_STREAM
        seconds = 0.0 if ended else linger_seconds(self.socket, crossing)
        if not seconds:
            self.drop()
        elif self._enter(LINGERING):
            Lingering(self, seconds)

    # ---- Every way to end: `end` reads no more but still answers and sends; `drop` closes now

    def close(self) -> None:
        """Read no more; answer what is being handled, send what is queued, then close."""
        if self._call_in_loop(self.close):
            return
        if self.stage >= OPEN:
            self._seal()
        self.end(CloseReason.LOCAL)

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        """Close now; what is queued is dropped."""
        if not self._call_in_loop(partial(self.abort, reason)):
            self.drop(reason)

    def end(self, reason: CloseReason, error: BaseException | None = None) -> None:
        """Read no more, for ``reason``; the first reason is the one that counts."""
        if self.stage < OPEN:
            self.drop(reason, error)
            return
        if self.reason is None:
            self.reason, self.error = reason, error
            if reason is not CloseReason.SHUTDOWN or self.stage != STOPPING:
                self._enter(HALF_CLOSED)
        self.schedule_update()

    def end_of_stream(self) -> None:
        """The peer has sent its last byte. It may still read (half-close, shutdown(2))."""
        read = self.context.loop.held_reads.get(self)
        if read is not None and read.fault is not None:  # no other framing may follow it any more
            self.bad_stream(read.fault)
            return
        try:
            if self.filter_io is not None and self.filter_io.filter.partial:
                raise FrameTruncated("the stream ended inside a TLS record")
            self.check_eof()
        except FrameError as error:
            self.end(CloseReason.TRUNCATED, error)
        except BaseException as error:
            self.bad_stream(error)
        else:
            self.end(CloseReason.EOF)

    def bad_stream(self, error: BaseException) -> None:
        """The peer has sent an invalid frame; or a user's own decoder has a bug."""
        if isinstance(error, FrameTooLarge):
            self.end(CloseReason.FRAME_TOO_LARGE, error)
        elif isinstance(error, FrameError):
            self.end(CloseReason.BAD_FRAME, error)
        else:
            self.handler_raised(error)

    def handler_failed(self, error: BaseException) -> None:
        """The handler has raised: deliver nothing more; send the replies it has returned."""
        refused = isinstance(error, BadMessage)
        if self.reason in _CLEAN_ENDS:
            self.reason = CloseReason.BAD_MESSAGE if refused else CloseReason.HANDLER_ERROR
            self.error = error
            self.loop.pass_on(error)
        elif not refused:  # else the peer has two faults, and the first one counts
            self.loop.report(error, f"handler raised after the end ({self.reason}) of its peer")
        self.paused |= FAILED
        self._enter(FLUSHING)
        self.schedule_update()

    def handler_raised(self, error: BaseException) -> None:
        """The same, for a handler that may have closed its connection before it raised."""
        if self.stage != CLOSED:
            self.handler_failed(error)
        elif error is self.error:  # it has closed the connection
            self.loop.pass_on(error)
        elif not isinstance(error, ConnectionClosed | BadMessage):  # which are no bugs
            self.loop.report(error, "handler raised after its connection was closed")

    def drop(self, reason: CloseReason | None = None, error: BaseException | None = None) -> None:
        """Close now, for ``reason`` unless it ended for a fault before. ``closed`` is called at the
        end of the turn."""
        if self.stage == CLOSED:
            return
        if reason is not None and self.reason in _CLEAN_ENDS:
            self.reason, self.error = reason, error
        if self._enter(CLOSED):
            if self.paused & REPLYING:
                self.loop.replies.pop(self).stop()
            if self.unsent:
                self.loop.dropped[self] = self.unsent
            self.discard()
            if self.filter_io is not None:
                self.filter_io.leave()
            self.context.loop.schedule_close(self, abort=reason not in _ORDERLY)

    def abandon(self) -> None:
        """It could not be started: close it, and tell nobody."""
        self._enter(CLOSED)
        self.release()

    # ---- What it waits for. A peer that is not read is held back by the kernel's buffers, and
    # then by its own (TCP's window, RFC 9293, 3.8.6).

    def pause_reading(self) -> None:
        """Deliver no message until ``resume_reading``; the kernel's buffers hold the peer back."""
        if not self._call_in_loop(self.pause_reading):
            self.pause_for(USER)
            self.schedule_update()

    def resume_reading(self) -> None:
        """Deliver messages again."""
        if not self._call_in_loop(self.resume_reading):
            self.paused &= ~USER
            self.schedule_update()

    def over_max_unsent(self, waiting: int = 0) -> bool:
        """Are too many bytes unsent, with ``waiting`` ones that are to come behind them? One frame,
        the largest, does not count: it may be larger than the limit. In any thread."""
        return self.unsent + waiting - self.largest_unsent > self.protocol.limits.max_unsent

    def check_watermarks(self) -> None:
        """Hold back a peer that takes too little of its output, or close it. Reading goes on at
        half the mark, as in Netty, not at every byte below it."""
        limits = self.protocol.limits
        if self.over_max_unsent():
            self.drop(CloseReason.SLOW_CONSUMER)
        elif self.unsent > limits.high_water:
            self.pause_for(HIGH_WATER)
        elif self.unsent <= limits.high_water // 2:
            self.paused &= ~HIGH_WATER
            if self.loop.writers and (writers := self.loop.writers.pop(self, None)):
                wake_writers(writers)

    def hold_back(self, messages: Iterator[bytes], read: HeldRead) -> None:
        """Delivery is paused, or over: keep what was received, or forget it. A fault behind it is
        met when it is delivered, as by then the framing may be another one."""
        count = length_hint(messages)
        self.loop.read_messages -= count
        if self.paused & SEALED:
            self.count_in(-count)  # which nobody gets
        if self.stage == CLOSED:
            self.discard()
        elif (count or (self.in_flight and read.fault is not None)) and not self.paused & SEALED:
            self.held_back = compact(messages)
            self.loop.held_reads[self] = read
            return
        if read.fault is not None:
            self.bad_stream(read.fault)

    def _drop_held_back(self) -> int:
        """They are cut anew, and counted then; returns how many they were."""
        left = length_hint(self.held_back)
        self.held_back = ()
        self.count_in(-left)
        return left

    def _deliver_held_back(self) -> None:
        messages, read = iter(self.held_back), self.loop.held_reads.pop(self)
        self.held_back = ()
        left = self.loop.serve_held_back(self, messages)
        if not self.takes_messages:
            self.count_in(-(left or 0))  # which nobody gets
            return
        if self.paused & PHASE:
            self.count_in(-(left or 0))
            self.begin_phase(partial(read.behind, left or 0))
        elif left is not None:
            self.hold_back(messages, read)
        elif read.fault is not None:
            self.bad_stream(read.fault)

    def on_event_while_paused(self, events: int) -> None:
        """There is something to read, or an end, while reading is paused."""
        # Asked for in any case: select(2) reports an error as something to read.
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
        else:  # What the peer sent before it left is still to be read: watch nothing until then.
            self._events = 0
            self.loop.disable(self.fd)

    def schedule_update(self) -> None:
        """Call `update_state` when the turn ends. Not at once: a handler that closes its connection
        and then returns a reply means the reply to be sent, together with others."""
        if not self.update_due:
            self.update_due = True
            self.context.loop.schedule_flush(self)

    def update_state(self) -> None:
        """Decide what to do next: deliver what was held back, read, send, or end."""
        self.update_due = False
        if self.unsent or self.paused & HIGH_WATER:
            self.check_watermarks()
        if not OPEN <= self.stage <= FLUSHING:
            return
        if self.paused & PHASE:
            self.schedule_update()
            read = self.loop.held_reads.pop(self, None)
            behind = self.partial_bytes
            if read is not None:
                behind = partial(read.behind, self._drop_held_back())
            self.begin_phase(behind)
        elif self.held_back and not self.paused:
            self.schedule_update()
            self._deliver_held_back()
        elif self._is_over():
            self._finish()
        else:
            self.last_activity = self.context.loop.tick  # a pause that ends is no silence
            self._update_events()
            if self.paused & REPLYING:
                self.loop.replies[self].resume()
            waits = self.reason is not None or self.paused & _WAITING
            if self.stage == STOPPING and not waits:
                self.loop.call_threadsafe(self.drain)

    def _is_over(self) -> bool:
        """Has it ended, with nothing left to deliver or send? A handler that has paused it may
        still send to a peer that has only ended its own stream."""
        answers_due = (self.in_flight and self.answers) or self.paused & REPLYING
        if self.reason is None or self.held_back or self.unsent or answers_due:
            return False
        kept_open = self.paused & USER and self.reason in _ENDS_OF_STREAM
        return self.stage == FLUSHING or not kept_open

    def _update_events(self) -> None:
        """Ask the poller for what the connection waits for, if that has changed."""
        if self.reason is not None or self.paused & (USER | HIGH_WATER | RATE):
            events = 0
        elif self.paused:
            events = self._events & READ  # most replies in flight come before more is to be read
        else:
            events = READ
        if self.unsent:
            events |= WRITE  # not always: most sockets are writable, which would wake the loop
        if events != self._events:
            self._events = events
            self.loop.watch(self.fd, self, events)

    def watch_next_event(
        self, before: Callable[[int], object], after: Callable[[], object]
    ) -> NextEvent | None:
        """Have ``before`` (with the events) and ``after`` called just before and after the next
        event is served, in the loop's thread. None if the connection waits for anything but bytes
        to read."""
        if self.stage != OPEN or self._events != READ or self.paused:
            return None
        return NextEvent(self, before, after)

    # ---- Messages for the peer

    def send(self, message: Buffer) -> None:
        """Queue one message, from any thread. Raises EncodeError and ConnectionClosed."""
        context = self.context
        frame = context.encode(message)
        if self.takes_messages and self._in_loop:
            self.queue(frame)
            return
        try:
            taken = self.loop.push_threadsafe(self, frame, context)
        except Reframed:
            self.send(message)
        else:
            if not taken:
                raise ConnectionClosed(f"{self!r} takes no messages")

    def push(self, frame: bytes) -> None:
        """Queue a frame that is encoded already; nothing if the connection takes no more."""
        if self.takes_messages:
            self.queue(frame)

    @property
    def takes_messages(self) -> bool:
        return OPEN <= self.stage < FLUSHING

    def _call_in_loop(self, call: Callable[[], object]) -> bool:
        """In another thread than the loop's: have the loop make the call, in order."""
        if self._in_loop:
            return False
        self.loop.call_threadsafe(call)
        return True

    @property
    def _in_loop(self) -> bool:
        """Is this the loop's thread, or is there none?"""
        return self.loop.thread in (None, threading.get_ident())
