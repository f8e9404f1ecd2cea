"""What happens to a connection once: it is established, ends, lingers and is closed.

An engine's connection inherits `Lifecycle` and adds what happens per message. The life of one:

    CONNECTING ──> OPEN ──> ended (`reason` is set) ──> LINGERING ──> CLOSED
         │                         │ nothing left unread                 ↑
         └─────────────────────────┴─────────────────────────────────────┘

A protocol's filters, where it has any, are established before it is OPEN (`greeting.py`).

*Ended* means that no more is read; what was received is still answered and what is queued is
still sent. `decide` is the one place that says what a connection waits for next.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, Protocol

from epollo import address
from epollo.engine import CloseReason
from epollo.engine.connecting import Connecting
from epollo.engine.events import READ, WRITE
from epollo.engine.greeting import Greeting
from epollo.engine.lingering import Lingering, has_unread, would_reset
from epollo.engine.reply import messages_of
from epollo.engine.source import Source, Watcher
from epollo.engine.stage import Stage
from epollo.errors import ConnectionClosed, FilterError, FrameError, FrameTooLarge, GroupError

if TYPE_CHECKING:
    from epollo.engine import Bounds, Connection, ConnectionProtocol, Reply
    from epollo.engine.filter import Filter
    from epollo.framing import Buffer

DRAIN_READS = 64  # of one connection; a peer that never stops sending must not hold up a stop


# An engine keeps a connection's data in its own way (a compiled one, in a struct), so none here.
_SLOTS_ARE_THE_ENGINES: tuple[str, ...] = ()

_ENDS_OF_STREAM = (CloseReason.EOF, CloseReason.TRUNCATED)
_CLEAN_ENDS = (None, CloseReason.EOF, CloseReason.LOCAL, CloseReason.SHUTDOWN)


class Plan(Protocol):
    """What the connections of one protocol on one loop have in common."""

    @property
    def loop(self) -> Watcher: ...
    @property
    def protocol(self) -> ConnectionProtocol: ...
    @property
    def encode(self) -> Callable[[Buffer], bytes]: ...
    @property
    def filters(self) -> Callable[[Connection], Sequence[Filter]] | None: ...


class Membership(Protocol):
    """The ``groups`` of a protocol that has some. Called from any thread."""

    def join(self, group: str, member: Lifecycle) -> None: ...
    def leave(self, group: str, member: Lifecycle) -> None: ...
    def of(self, member: Lifecycle) -> frozenset[str]: ...


class Lifecycle:
    """The part of a connection that no message passes through."""

    __slots__ = _SLOTS_ARE_THE_ENGINES

    # What the engine adds:
    ready: Callable[[int], None]
    serve: Callable[[Iterable[bytes]], None]
    queue: Callable[[bytes], None]
    feed: Callable[[bytes], None]  # plain bytes, to be cut and served; or cut and held back
    transmit: Callable[[bytes], None]  # sends bytes as they are, behind what was sent before
    discard: Callable[[], None]
    find_peer: Callable[[], None]  # sets ``peer``; raises OSError where not connected
    check_eof: Callable[[], None]  # raises FrameTruncated where the end would cut a frame
    midway: Callable[[], bool]  # is a frame begun, and not complete?
    release: Callable[[], None]  # closes the descriptor

    plan: Plan
    socket: socket.socket
    fd: int
    state: Any
    reason: CloseReason | None  # why no more is read
    error: Exception | None
    stage: Stage
    unsent: int
    filter: Filter | None  # between socket and framing, once established
    unsettled: bool  # what it waits for may have changed: to be decided when the turn ends

    established: bool  # `connected` was called
    peer: str | None  # its address; None before the connection is established
    heard: int  # the tick at which bytes came last, or were queued by others
    begun: int  # at which the last frame was complete, or none was begun
    stuck: int  # at which the peer took bytes last, or owed to take none
    in_flight: int  # messages that were handed to the handler, and whose replies come later
    _events: int  # what the poller watches for; 0 before `open`
    _inbox: Iterable[bytes]  # received, and held back from the handler; () for nothing
    _holding: bool  # deliver no message now
    _paused: bool  # held by the handler's own wish
    _flooded: bool  # held since more than high_water is unsent
    _sealed: bool  # takes no more messages to send
    _draining: bool  # what has arrived is still to be read, when the handler can take it

    @property
    def loop(self) -> Watcher:
        return self.plan.loop

    @property
    def protocol(self) -> ConnectionProtocol:
        return self.plan.protocol

    @property
    def closed(self) -> bool:
        return self.stage is Stage.CLOSED

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
        return None if self.filter is None else self.filter.tls

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<Connection {self.peername} {self.stage.name.lower()}{why}>"

    def start(self) -> None:
        """Watch the socket: for its connect to finish, or for what the peer sends."""
        try:
            self.find_peer()
        except OSError:  # ENOTCONN: under way, or over; SO_ERROR will tell which
            self.loop.watch(self.fd, Connecting(self), WRITE)
        else:
            self.greet()

    def greet(self) -> None:
        """The socket is connected: establish the filters first, where there are any."""
        make = self.plan.filters
        filters = () if make is None else make(self)
        if filters:
            Greeting(self, filters)
        else:
            self.open()

    def open(self) -> None:
        """The socket is connected, and the filters established: read from it from now on."""
        self._events = READ
        self.loop.watch(self.fd, self, READ)
        self.stage = Stage.OPEN
        self.established = True
        try:
            self.protocol.connected(self)
        except Exception as error:
            self.handler_failed(error)
        if self._holding or self.reason is not None:  # by the handler, or before it was connected
            self.unsettle()

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

    def join(self, group: str) -> None:
        """Be sent what is published to ``group``, until `leave` or the close."""
        self._membership.join(group, self)

    def leave(self, group: str) -> None:
        """Be sent no more of what is published to ``group``."""
        self._membership.leave(group, self)

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""
        return self._membership.of(self)

    @property
    def _membership(self) -> Membership:
        groups: Membership | None = getattr(self.protocol, "groups", None)
        if groups is None:
            kind = type(self.protocol).__name__
            raise GroupError(f"{self!r} has no groups: give its protocol, {kind}, a `groups`")
        return groups

    def defer(self) -> None:
        """The reply to the message being handled comes later, by `answer`."""
        self.in_flight += 1
        self._hold()

    def answer(self, reply: Reply) -> None:
        """Send the reply to a deferred message. What is raised for a reply that is none closes the
        connection, as what a handler raises does."""
        self.in_flight -= 1
        self._hold()
        if reply is not None and self._answers:
            try:
                self.reply(reply)
            except Exception as error:
                self.handler_raised(error)
        self.unsettle()

    def fail(self, error: Exception) -> None:
        """The handler of a deferred message has raised: no reply comes."""
        self.in_flight -= 1
        self._hold()
        self.handler_raised(error)

    def reply(self, reply: Reply) -> None:
        """Queue what a handler returned: one message, or several of them."""
        for message in messages_of(reply):
            self.queue(self.plan.encode(message))
            if self.closed:
                break

    def close(self) -> None:
        """Read no more; answer what is being handled, send what is queued, then close."""
        if not self._leave_to_loop(self.close):
            self._seal()
            self.end(CloseReason.LOCAL)

    def drain(self) -> None:
        """Read what has arrived until now, answer it and send that, then close."""
        if self._leave_to_loop(self.drain):
            return
        held_back = self._inbox and not self._holding
        if held_back or self.loop.turning or not self.loop.polling:
            # What was read before is still on its way to the handler; and between two turns, as in
            # a task of asyncio's, is no time for handlers to be called.
            self.loop.call_threadsafe(self.drain)
            return
        self._draining = False
        self.loop.turning = True
        try:
            for _ in range(DRAIN_READS):
                if self._holding or self.reason is not None or not has_unread(self.socket):
                    break
                self.ready(READ)
        finally:
            self.loop.turning = False
        if self.reason is None and self._holding and not self._paused:
            self._draining = True  # go on when what is in flight is answered, or taken by the peer
        else:
            self.end(CloseReason.SHUTDOWN)

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        """Close now; what is queued is dropped."""
        if not self._leave_to_loop(partial(self.abort, reason)):
            self.drop(reason)

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

    def _leave_to_loop(self, call: Callable[[], object]) -> bool:
        """Another thread than the loop's has this done by the loop, in order."""
        if self.loop.thread in (None, threading.get_ident()):
            return False
        self.loop.call_threadsafe(call)
        return True

    def _hold(self) -> None:
        """Is the handler to hear no more for now?"""
        busy = self.in_flight >= self.protocol.limits.in_flight
        self._holding = self._paused or self._flooded or self._sealed or busy

    def _hold_back(self, waiting: Iterator[bytes]) -> None:
        """The handler is to hear no more for now, or ever, of what was received."""
        if self.closed:
            self.discard()
        elif not self._sealed and length_hint(waiting):
            self._inbox = waiting

    def end(self, reason: CloseReason, error: Exception | None = None) -> None:
        """Read no more, for ``reason``; the first reason is the one that counts."""
        if self.reason is None:
            self.reason = reason
            self.error = error
        self.unsettle()

    def end_of_stream(self) -> None:
        """The peer has sent its last byte. It may still be reading (half-close, shutdown(2)),
        so all that it asked for is answered before the close."""
        try:
            self.check_eof()
        except FrameError as error:
            self.end(CloseReason.TRUNCATED, error)
        except Exception as error:
            self.bad_stream(error)
        else:
            self.end(CloseReason.EOF)

    def filtered(self, data: bytes) -> None:
        """What came off the wire, none for its end, goes through the filter to the framing."""
        assert self.filter is not None
        try:
            if not data:
                self.filter.eof()
            plain = self.filter.received(data)
        except FilterError as error:
            if error.received:
                self.feed(error.received)
            self.transmit(self.filter.pending())
            self.end(CloseReason(error.reason), error)
        else:
            self.unwrapped(plain)
            if not data:
                self.end_of_stream()

    def unwrapped(self, plain: bytes) -> None:
        """Serve what the filters gave; send what they have to say themselves."""
        if plain:
            self.feed(plain)
        if self.filter is not None and not self.closed:
            self.transmit(self.filter.pending())
            if self.filter.ended:
                self.end_of_stream()

    def wrap(self, plain: bytes) -> bytes:
        """What goes on the wire for ``plain``; nothing, and closed, where the filter cannot."""
        assert self.filter is not None
        try:
            return self.filter.send(plain)
        except FilterError as error:
            self.drop(CloseReason(error.reason), error)
            return b""

    def refuse(self, error: FilterError) -> None:
        """The filters could not be established."""
        self.reason, self.error = CloseReason(error.reason), error
        self._finish()

    def bad_stream(self, error: Exception) -> None:
        """The peer has sent what is no frame, so no later byte can be made sense of; or what a
        user's own decoder chokes on."""
        too_large = isinstance(error, FrameTooLarge)
        self.end(CloseReason.FRAME_TOO_LARGE if too_large else CloseReason.BAD_FRAME, error)

    def handler_failed(self, error: Exception) -> None:
        """The handler has raised: nothing more is handed to it, what it answered is sent."""
        if self.reason in _CLEAN_ENDS:
            self.reason, self.error = CloseReason.HANDLER_ERROR, error
        else:
            self.loop.report(error, f"handler raised after the end ({self.reason}) of its peer")
        self._seal()
        self.unsettle()

    def handler_raised(self, error: Exception) -> None:
        """The handler has raised, which a handler may do also after it closed its connection."""
        if not self.closed:
            self.handler_failed(error)
        elif not isinstance(error, ConnectionClosed):  # which only tells the handler of the close
            self.loop.report(error, "handler raised after its connection was closed")

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

    def unsettle(self) -> None:
        """What the connection waits for may have changed: `decide` when the turn ends.

        Not at once: a handler that closes its connection and then returns a reply means the
        reply to be sent, and a reply sent alone would be a system call of its own.
        """
        if not self.unsettled:
            self.unsettled = True
            self.loop.soil(self)

    def decide(self) -> None:
        """Decide what to wait for next: to serve what was held back, to read, to send, to end."""
        self.unsettled = False
        if self.stage is Stage.CONNECTING and self.reason is not None:
            self.drop()
        if self.unsent or self._flooded:
            self.mind_marks()
        if self.stage is not Stage.OPEN:
            return
        if self._inbox and not self._holding:
            inbox, self._inbox = self._inbox, ()
            self.unsettle()
            self.serve(inbox)
        elif self._draining and not self._holding:
            self.loop.call_threadsafe(self.drain)
        elif self.reason is not None and not self._inbox and not self._owes():
            self._finish()
        else:
            self._await()

    def overdue(self, bounds: Bounds) -> CloseReason | None:
        """Which deadline the peer has missed. Only what is up to the peer counts: while it is not
        read, or waits for its reply, it is neither idle nor late."""
        tick = self.loop.tick
        if self.stage is not Stage.OPEN:
            return None
        if self._holding or self.reason is not None or self._inbox:
            self.heard = self.begun = tick
        elif self.unsent or self.in_flight:
            self.heard = tick
        if not self.unsent:
            self.stuck = tick
        if self.begun != tick and not self.midway():
            self.begun = tick
        if bounds.write and tick - self.stuck > bounds.write:
            return CloseReason.WRITE_TIMEOUT
        if bounds.frame and tick - self.begun > bounds.frame:
            return CloseReason.FRAME_TIMEOUT
        if bounds.idle and tick - self.heard > bounds.idle:
            return CloseReason.IDLE_TIMEOUT
        return None

    def _owes(self) -> bool:
        """Is there something to send, or still to be answered?"""
        return bool(self.unsent or (self.in_flight and self._answers))

    @property
    def _answers(self) -> bool:
        """Is what is in flight still to be answered? Behind a close too: a handler that closes its
        connection and then returns a reply means the reply to be sent, whether it waited or not."""
        return not self._sealed or (self.reason is CloseReason.LOCAL and not self.closed)

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

    def drop(self, reason: CloseReason | None = None, error: Exception | None = None) -> None:
        """Close now, for ``reason`` unless it ended for a fault before.

        The descriptor is given back, and ``closed`` called, at the end of the turn.
        """
        if self.closed:
            return
        if reason is not None and self.reason in _CLEAN_ENDS:
            self.reason, self.error = reason, error
        self._seal()
        self.stage = Stage.CLOSED
        self.discard()
        self.loop.bury(self)

    def abandon(self) -> None:
        """It could not be started: close it, and tell nobody."""
        self._seal()
        self.stage = Stage.CLOSED
        self.release()

    def _finish(self) -> None:
        """All is answered and sent: close, and linger where that could destroy it."""
        self._seal()
        if self.filter is not None and self._says_last_word():
            return
        if self.reason not in _ENDS_OF_STREAM and would_reset(self.socket):
            Lingering(self)
        else:
            self.drop()

    def _says_last_word(self) -> bool:
        """Send the filter's; true while it is still to be taken, or where the peer is gone, which
        is then no other end than the one there was."""
        assert self.filter is not None
        reason, error = self.reason, self.error
        self.transmit(self.filter.close())
        if self.closed:
            self.reason, self.error = reason, error
        elif self.unsent:
            self._await()
        return self.closed or self.unsent > 0

    def _seal(self) -> None:
        """Hand nothing more to the handler, and take nothing more to send."""
        self._inbox = ()
        self._sealed = self._holding = True


def connection_of(source: Source) -> Lifecycle | None:
    """The connection that ``source`` stands for, if it does."""
    if isinstance(source, Connecting | Greeting | Lingering):
        return source.connection
    return source if isinstance(source, Lifecycle) else None
