"""What happens to a connection once: it is established, ends, lingers and is closed.

An engine's connection inherits `Lifecycle` and adds what happens per message. The life of one:

    CONNECTING ──> OPEN ──> ended (`reason` is set) ──> LINGERING ──> CLOSED
         │                         │ nothing left unread                 ↑
         └─────────────────────────┴─────────────────────────────────────┘

A protocol's filters, where it has any, are established before it is OPEN (`greeting.py`). How it
comes to its end stands in `ending.py`, who is held back meanwhile in `flow.py`. `decide` is the
one place that says what a connection does next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from epollo.engine import CloseReason
from epollo.engine.connecting import Connecting
from epollo.engine.events import READ, WRITE
from epollo.engine.filtering import Filtering
from epollo.engine.greeting import Greeting
from epollo.engine.lingering import Lingering, has_unread, would_reset
from epollo.engine.membership import Member
from epollo.engine.replying import Replying
from epollo.engine.source import Source
from epollo.engine.stage import Stage
from epollo.errors import FilterError

if TYPE_CHECKING:
    from epollo.engine import Bounds

DRAIN_READS = 64  # of one connection; a peer that never stops sending must not hold up a stop

_ENDS_OF_STREAM = (CloseReason.EOF, CloseReason.TRUNCATED)


class Lifecycle(Filtering, Replying, Member):
    """The part of a connection that no message passes through."""

    __slots__ = ()

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
        self.heard = self.begun = self.stuck = self.loop.tick
        self.loop.watch(self.fd, self, READ)
        self.stage = Stage.OPEN
        self.established = True
        try:
            self.protocol.connected(self)
        except BaseException as error:
            self.handler_failed(error)
        if self._holding or self.reason is not None:  # by the handler, or before it was connected
            self.unsettle()

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

    def refuse(self, error: FilterError) -> None:
        """The filters could not be established."""
        self.reason, self.error = CloseReason(error.reason), error
        self._finish()

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
        elif self._draining and not self._waits():
            self._await()
            self.loop.call_threadsafe(self.drain)
        elif self._is_over():
            self._finish()
        else:
            self._await()

    def _is_over(self) -> bool:
        """Has it ended, and is nothing left to be handled or sent? A handler that has paused its
        connection may still send to a peer that has only ended its own stream."""
        if self.reason is None or self._inbox or self._owes():
            return False
        return self._sealed or not (self._paused and self.reason in _ENDS_OF_STREAM)

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

    def _finish(self) -> None:
        """All is answered and sent: close, and linger where that could destroy it."""
        self._seal()
        if self.filter_io is not None and self._says_last_word():
            return
        if self.reason not in _ENDS_OF_STREAM and would_reset(self.socket):
            Lingering(self)
        else:
            self.drop()


def connection_of(source: Source) -> Lifecycle | None:
    """The connection that ``source`` stands for, if it does."""
    if isinstance(source, Connecting | Greeting | Lingering):
        return source.connection
    return source if isinstance(source, Lifecycle) else None
