"""The usual life of a connection: accepted, opened, ended by its peer when all is answered, closed.

`BaseConnection` has the rules for every life. Here is what they come to for this one, as most
connections have it: in C it takes a fraction of the time. All others are left to the rules.
"""

from cython cimport final
from libc.stdint cimport uint8_t, uint16_t

from epollo.engine.native.formats.base cimport FrameFormat

from epollo.engine import events, pauses
from epollo.engine.connection import NEXT_STAGES, BaseConnection, Stage
from epollo.reasons import CloseReason

cdef uint8_t OPEN = Stage.OPEN
cdef uint8_t HALF_CLOSED = Stage.HALF_CLOSED
cdef uint8_t FLUSHING = Stage.FLUSHING
cdef uint8_t CLOSED = Stage.CLOSED
cdef uint8_t SEALED = pauses.SEALED
cdef uint8_t FAILED = pauses.FAILED
cdef short READ = events.READ
cdef object EOF = CloseReason.EOF
cdef object NOTHING = ()  # the only empty tuple there is

cdef uint16_t _next[16]  # by stage, those that may follow it: a bit each
for _stage, _row in NEXT_STAGES.items():
    _next[<uint8_t> _stage] = sum(1 << each for each in _row)


cdef class Life(Sender):
    """The stages of a connection."""

    @property
    def loop(self):
        return self.context.loop

    @property
    def closed(self):
        return self.stage == CLOSED

    @property
    def takes_messages(self):
        return OPEN <= self.stage < FLUSHING

    def _enter(self, uint8_t stage):
        """See `BaseConnection._enter`."""
        return self.enter(stage)

    @final
    cdef bint enter(self, uint8_t stage) except -1:
        if stage <= self.stage:
            return False
        if not _next[self.stage] >> stage & 1:
            raise AssertionError(f"{self!r} cannot become {Stage(stage).name.lower()}")
        self.stage = stage
        if stage >= FLUSHING:
            if self.held_back is not NOTHING:
                self.forget_held_back()
            self.paused |= SEALED if stage < CLOSED else SEALED | FAILED
        return True

    def start(self):
        """Watch the socket; one that is connected, and has no filters, is open at once."""
        cdef bint connected
        try:
            connected = self.context.filters is None and self.knows_peer()
        except OSError:  # it was, a moment ago
            connected = False
        if connected:
            self.open()
        else:
            BaseConnection.start(self)

    def open(self):
        """See `BaseConnection.open`."""
        self._events = READ
        self.last_activity = self.frame_started = self.write_progress = self.context.buffers.tick
        if not self.enter(OPEN):
            return
        self.context.loop.watch(self.fd, self, READ)
        self.established = True
        try:
            self.context.protocol.connected(self)
        except BaseException as error:
            self.handler_failed(error)
        if self.paused or self.reason is not None:  # by the handler
            self.schedule()

    def end_of_stream(self):
        """The peer has sent its last byte. A user's own decoder is told, by the rules."""
        if (
            self.stage == OPEN
            and self._is_plain()
            and not self.context.loop.held_reads
            and type(self.context.format) is not FrameFormat
        ):
            self.reason = EOF
            self.enter(HALF_CLOSED)
            self.schedule()
        else:
            BaseConnection.end_of_stream(self)

    def update_state(self):
        """Decide what to do next: for one that its peer has ended, and that owes it nothing, that
        is to close."""
        if self.stage == HALF_CLOSED and self.reason is EOF and self._is_plain():
            self.update_due = False
            self.enter(FLUSHING)
            self.enter(CLOSED)
            self.context.loop.schedule_close(self, False)
        else:
            BaseConnection.update_state(self)

    @final
    cdef bint _is_plain(self) noexcept:
        """Does nothing wait, for its handler or for its peer, and does no filter see its bytes?"""
        return (
            self.filter_io is None
            and self.partial is None
            and self.outbox is None
            and self.held_back is NOTHING
            and self.in_flight == 0
            and self.paused == 0
            and self.context.buffers.serving is not self
        )
