"""One connection: bytes in, messages to the handler, replies out. What happens per message."""

import os

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t
from posix.uio cimport iovec, readv

from epollo.engine.native.decoder cimport Stretch, skip
from epollo.engine.native.rules cimport WHOLE, Found, Rule, Span
from epollo.engine.native.sending cimport LARGE
from epollo.engine.native.turn cimport READ_SIZE, Turn

from epollo.engine import CloseReason, events as _events
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.stage import Stage
from epollo.errors import FrameError

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    object PyObject_Vectorcall(object callable, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)

cdef uint32_t READ = _events.READ
cdef uint32_t WRITE = _events.WRITE
cdef object CLOSED = Stage.CLOSED
cdef object RESET = CloseReason.RESET


cdef class ConnectionCore(Sender):
    """The part of a connection that messages pass through."""

    def ready(self, events):
        """The poller says that there is something; one recv, for the others are waiting too."""
        self.serve_ready(events)

    @final
    cdef int serve_ready(self, uint32_t events) except -1:
        cdef Stretch rest
        cdef Py_ssize_t count
        # An earlier handler of the same batch may have paused this connection, or closed it.
        if (events != READ or self._holding) and not self._may_read(events):
            return 0
        if self.filter is not None:
            return self._receive_filtered()
        count = self._receive(&rest)
        if count > 0:
            self.heard = self.plan.turn.tick
            self._consume(&rest)
        elif count == 0:
            self.end_of_stream()
        elif errno != EAGAIN and errno != EINTR:  # readiness is a hint: select(2), BUGS
            self.drop(RESET, OSError(errno, os.strerror(errno)))
        return 0

    @final
    cdef int _receive_filtered(self) except -1:
        cdef uint8_t *input = self.plan.turn.input
        cdef Py_ssize_t count = recv(self.fd, input, READ_SIZE, 0)
        if count >= 0:
            self.heard = self.plan.turn.tick
            self.filtered(<bytes> input[:count])
        elif errno != EAGAIN and errno != EINTR:
            self.drop(RESET, OSError(errno, os.strerror(errno)))
        return 0

    def feed(self, bytes plain):
        """Serve the messages of what a filter gave; keep them where the handler may hear none."""
        cdef Stretch rest = Stretch(
            <const uint8_t *> PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), False
        )
        if self._holding:
            self._take_rest(&rest)
        else:
            self._consume(&rest)

    def serve(self, messages):
        """Hand the messages to the handler, in order; send what it answers."""
        cdef Turn turn = self.plan.turn
        turn.serving, turn.used = self, 0
        try:
            self._deliver_all(messages)
        finally:
            self.send_replies(None, 0)
            turn.serving = None

    def check_eof(self):
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        self.check_end(self.plan.rule)

    def midway(self):
        """Is a frame begun, and not complete?"""
        if self.partial is None:
            return False
        if self.partial.judge is None:
            return True
        try:
            self.partial.judge.eof()
        except FrameError:
            return True
        return False

    @final
    cdef bint well(self, uint32_t idle) except -1:
        """Is it plain, without asking more, that the peer is not late with anything?"""
        cdef uint32_t tick = self.plan.turn.tick
        if self.partial is not None or self.outbox is not None or tick - self.heard > idle > 0:
            return False
        self.begun = self.stuck = tick
        return True

    @final
    cdef Py_ssize_t _receive(self, Stretch *rest) except -2:
        """One read(2); what is of a long message goes to its place in it."""
        cdef iovec vectors[2]
        cdef uint8_t *place = NULL
        cdef Py_ssize_t wanted = 0, count
        cdef uint8_t *input = self.plan.turn.input
        if self.partial is not None:
            wanted = self.partial.wanted(&place)
        if wanted < LARGE:
            count = recv(self.fd, input, READ_SIZE, 0)
            rest[0] = Stretch(input, count, False)
            return count
        vectors[0] = iovec(place, wanted)
        vectors[1] = iovec(input, READ_SIZE)
        count = readv(self.fd, vectors, 2)
        if count > 0:
            self.partial.filled += min(count, wanted)
        rest[0] = Stretch(input, max(0, count - wanted), False)
        return count

    @final
    cdef int _consume(self, Stretch *rest) except -1:
        """Hand each message of what was read to the handler; send what it answers."""
        cdef Turn turn = self.plan.turn
        turn.serving, turn.used = self, 0
        try:
            if self._deliver_whole(rest):
                self._take_rest(rest)
        finally:
            self.send_replies(None, 0)
            turn.serving = None
        return 0

    @final
    cdef inline bint _deliver_whole(self, Stretch *rest) except -1:
        """The messages of ``rest``, one by one; true where that ended before they did."""
        cdef Rule rule = self.plan.rule
        cdef Found found
        cdef Span span
        cdef bytes message = None
        try:
            if self.partial is not None:
                message = self.complete(rule, rest)
                if message is None:
                    return rest.strange
                # Sweeps stamp those in whose stream no frame is begun. So a frame that begins now
                # is stamped already, but behind one that earlier reads have begun.
                self.begun = self.plan.turn.tick
                self._deliver(message)
                if self._holding:
                    return True
            while rest.count:
                message = None
                found = rule.find(rest.data, rest.count, 0, &span)
                if found != WHOLE:
                    return self.keep(found, rule, rest)
                message = PyBytes_FromStringAndSize(
                    <const char *> rest.data + span.start, span.stop - span.start
                )
                skip(rest, span.size)
                self._deliver(message)
                if self._holding:
                    return True
        except Exception as error:
            if message is None:  # MemoryError
                self.bad_stream(error)
            else:
                self.handler_raised(error)
        return False

    @final
    cdef inline int _deliver(self, object message) except -1:
        # With room before them, for the object that a bound method is bound to (PEP 590).
        cdef PyObject *arguments[3]
        arguments[0], arguments[1], arguments[2] = NULL, <PyObject *> message, <PyObject *> self
        reply = PyObject_Vectorcall(
            self.plan.received, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
        )
        if type(reply) is bytes:
            self.pack(<bytes> reply)
        elif reply is not None:
            self.reply(reply)
        return 0

    @final
    cdef int _deliver_all(self, object messages) except -1:
        waiting = iter(messages)
        try:
            for message in waiting:
                self.begun = self.plan.turn.tick
                self._deliver(message)
                if self._holding:
                    self._hold_back(waiting)
                    break
        except Exception as error:
            self.handler_raised(error)
        return 0

    @final
    cdef int _take_rest(self, Stretch *rest) except -1:
        """The handler is to hear no more for now; or what comes next is no good frame."""
        if self._sealed:
            return 0
        error = None
        try:
            messages = self.all_messages(self.plan.rule, rest)
        except Exception as raised:  # FrameError, or what a user's own decoder chokes on
            error, messages = raised, getattr(raised, "messages", ())
        if self._holding:
            self._hold_back(iter(messages))
        else:
            self._deliver_all(messages)
        if error is not None:
            self.bad_stream(error)
        return 0

    @final
    cdef bint _may_read(self, uint32_t events) except -1:
        """Attend to what the poller tells besides, or instead of, bytes to read."""
        if events & WRITE and self.outbox is not None:
            self.send_outbox()
            self.unsettle()
        if self.stage is CLOSED or not events & ~WRITE:
            return False
        if not self._holding and self.reason is None:
            return not self._inbox  # which comes first, when the turn ends
        self.put_off(events)
        return False


class Connection(ConnectionCore, Lifecycle):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = ()
