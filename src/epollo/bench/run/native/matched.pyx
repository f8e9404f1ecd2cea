"""One connection of a run whose replies are matched by an identifier, message by message."""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from epollo.bench.run.native.counters cimport clock
from epollo.bench.run.native.pipeline cimport PipelineCore
from epollo.engine.native.connection cimport ConnectionCore

from epollo.bench.run.matched_connection import REMEMBERED, MatchedConnection


cdef class MatchedPipelineCore(PipelineCore):
    """The part of a matched pipeline that messages pass through, and its data.

    An identifier at a fixed place is found, and written, without a call of a Python function. The
    ring of `PipelineCore` stays empty: ``first`` is always ``number``.
    """

    cdef public dict waiting
    cdef public object answered_last
    cdef public int64_t last_reply
    cdef public uint64_t skipped
    cdef Py_ssize_t offset  # of the identifier
    cdef Py_ssize_t size  # of it; 0: only the functions know
    cdef bint any
    cdef object get
    cdef object get_reply
    cdef object stamp

    def __init__(self, context, listener, serial, slot, ramp_remaining):
        super().__init__(context, listener, serial, slot, ramp_remaining)
        self.in_place = False
        self.any = context.expectation.any
        match = context.match
        self.get, self.stamp = match.get, match.stamp
        self.get_reply = match.get_reply or match.get
        if match.at is not None:
            self.offset, self.size = match.at
        self.waiting = {}
        self.answered_last = deque(maxlen=REMEMBERED)

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        return self._answer(<bytes> data[:size], self.now)

    def received(self, bytes reply, connection):
        """Find the message that a reply answers; if it is correct, record its time and return the
        next message."""
        self.now = clock()
        return self._answer(reply, self.now)

    cdef bytes _answer(self, bytes reply, int64_t now):
        cdef int64_t due, sent
        cdef bytes expected
        if self.greeting_due:
            self.count_greeting()
            return None
        identifier = self._identifier(reply, self.get_reply)
        entry = self.waiting.get(identifier)
        if entry is None:
            self.unknown_reply(identifier)
            return None
        due, sent, expected = entry
        if not self._is_correct(expected, reply):
            expected = self.wrong_reply(identifier, reply)
            self.now = clock()  # later than the due time of any message sent meanwhile
            return expected
        if self.waiting.pop(identifier, None) is None:  # the user's function ended the connection
            return None
        self.answered_last.append(identifier)
        self.last_reply = now
        self.counters.count_reply(due, sent, now, PyBytes_GET_SIZE(reply))
        if due >= self.counters.begin:
            self.answered += 1
        return self._continue()

    cdef bint _is_correct(self, bytes expected, bytes reply) except -1:
        if self.verify is None:
            return expected == reply
        return self.any or self.verify(expected, reply)

    cdef bytes _continue(self):
        """After a correct reply: in a closed loop, return the next message."""
        cdef int64_t now = self.now
        cdef bytes message = None
        if self.watched:
            message = self.continue_after_reply(now)
            self.now = clock()  # later than the due time of any message sent meanwhile
            return message
        if not self.counters.open_loop:
            self.now = now + 1  # no two messages of a connection have the same due time
            message = self._next(now)
        if not self.counters.sending:
            self.finish_if_idle()
        return message

    cdef int send_due(self, int64_t due) except -1:
        """Send the message due at ``due`` ns, at once, after those sent before."""
        cdef ConnectionCore connection = self.transport
        cdef bytes message
        if not connection.begin_writing():  # sent as an object, when the turn of the loop ends
            self.send(due)
            return 0
        try:
            message = self._next(due)
            if message is not None:
                connection.send(message)
        finally:
            connection.end_serving()
        if not self.counters.sending:
            self.finish_if_idle()
        return 0

    def next_message(self, due):
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        return self._next(due)

    cdef bytes _next(self, int64_t due):
        cdef bytes message
        cdef int64_t sent
        if not self.counters.admit(due):
            return None
        message = self._make(due)
        identifier = self._identifier(message, self.get)
        if identifier in self.waiting:
            identifier, message = self.another_message(due)
        self.number += 1
        self.first = self.number
        sent = self.counters.count_sent(due, PyBytes_GET_SIZE(message))
        self.waiting[identifier] = due, sent, message
        return message

    def make_message(self, due):
        """The next message, due at ``due`` ns, with its identifier."""
        return self._make(due)

    cdef bytes _make(self, int64_t due):
        cdef uint64_t number = self.number + self.skipped
        cdef bytes message = self.messages.make(self.serial, number, due)
        if self.stamp is None:
            return message
        if not self.size:
            return self.stamp(message, number)
        return _stamped(message, self.offset, self.size, number)

    cdef object _identifier(self, bytes message, object get):
        """The identifier of ``message``, by the function ``get`` if it is at no fixed place."""
        if not self.size:
            return get(message)
        if PyBytes_GET_SIZE(message) < self.offset + self.size:
            return None
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(message) + self.offset, self.size)


class MatchedPipeline(MatchedConnection, MatchedPipelineCore):
    """The messages outstanding on one connection, by identifier, and what a reply does to them.

    Every message sent ends in exactly one way, as in `Pipeline`.
    """

    __slots__ = ()


cdef bytes _stamped(bytes message, Py_ssize_t offset, Py_ssize_t size, uint64_t number):
    """A copy of ``message`` with the big-endian ``number`` in the ``size`` bytes at ``offset``. The
    message is long enough: that was checked before the run."""
    cdef Py_ssize_t whole = PyBytes_GET_SIZE(message), index = offset + size
    cdef bytes stamped = PyBytes_FromStringAndSize(NULL, whole)
    cdef uint8_t *data = <uint8_t *> PyBytes_AS_STRING(stamped)
    memcpy(data, PyBytes_AS_STRING(message), whole)
    while index > offset:
        index -= 1
        data[index] = number & 0xFF
        number >>= 8
    return stamped
