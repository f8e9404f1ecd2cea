"""One connection of a run, message by message: sends, matches replies, records their times."""

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.bench.run.native.counters cimport clock
from epollo.bench.run.native.frame cimport Frame, equal_frame, write_frame
from epollo.engine.native.connection cimport ConnectionCore
from epollo.engine.native.decoder cimport Cursor, skip

from epollo.bench.run.connection import BenchConnection
from epollo.bench.run.metrics import NEVER

cdef Py_ssize_t _live = 0


def live():
    """How many pipelines there are: for tests that look for leaks."""
    return _live


cdef class PipelineCore(NativeProtocol):
    """The part of a pipeline that messages pass through, and its data.

    A message that `Messages` makes is written straight into the output buffer, and compared with
    its reply in the input buffer. All others are objects, as in the Python backend.
    """

    def __cinit__(self, *args):
        global _live
        _live += 1

    def __init__(self, context, listener, serial, slot, ramp_remaining):
        self.framing = context.framing
        self.limits = context.limits
        self.filters = context.filters
        self.counters = context.counters
        self.messages = context.messages
        self.verify = context.expectation.verify
        self.in_place = self.verify is None and self.messages.sizes is not NULL
        self.prepare(context, listener, serial, slot, ramp_remaining)

    def __dealloc__(self):
        global _live
        _live -= 1
        while self.first < self.number:
            self._pop()
        PyMem_Free(self.ring)

    cdef void begin_read(self) noexcept:
        self.now = clock()

    cdef Py_ssize_t on_batch(self, Cursor *unread, uint8_t *place, Py_ssize_t space) noexcept:
        """In a closed loop: match the correct replies at the front, and write as many messages."""
        cdef Py_ssize_t size = self.messages.frame.size, most, count
        if not size or self.watched or not self.in_place or self.counters.open_loop:
            return 0
        most = min(min(unread.count, space) // size, <Py_ssize_t> (self.number - self.first))
        if not self.counters.admits_batch(self.now, most):
            return 0
        count = _match_front(self, unread.data, most)
        _write_next(self, count, place)
        self.answered += count
        self.counters.count_batch(count, self.messages.frame.message)
        skip(unread, count * size)
        return count * size

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        """Match one reply; if it is correct, record its time and send the next message."""
        cdef Entry *entry
        if self.in_place and self.first < self.number:
            entry = self._at(self.first)
            if entry.message is NULL and self.messages.equal(
                self.serial, self.first, entry.due, data, size
            ):
                self._settle(entry, self.now, size)
                return self._follow(connection)
        return self._received(<bytes> data[:size], connection, self.now)

    def received(self, bytes reply, connection):
        """Match one reply; if it is correct, record its time and return the next message."""
        self.now = clock()
        return self._received(reply, connection, self.now)

    cdef bytes _received(self, bytes reply, object connection, int64_t now):
        if self.first == self.number:
            return self._mismatch(reply, connection)
        message = self._message(self.first)
        correct = message == reply if self.verify is None else self.verify(message, reply)
        # The user's function may have run any code, so look at the state again.
        if not correct or self.first == self.number:
            return self._mismatch(reply, connection)
        self._settle(self._at(self.first), now, PyBytes_GET_SIZE(reply))
        return self._follow(None)

    cdef bytes _mismatch(self, bytes reply, object connection):
        """A wrong reply. The next message is due now, so no later reply of this read, not even a
        wrong one, may be timed with a clock read before."""
        message = self.mismatch(reply, connection, clock())
        self.now = clock()
        return message

    @final
    cdef inline int _settle(self, Entry *entry, int64_t now, Py_ssize_t size) except -1:
        """The oldest message is answered correctly."""
        cdef int64_t due = entry.due, sent = entry.sent
        self._pop()
        self.counters.count_reply(due, sent, now, size)
        if due >= self.counters.begin:
            self.answered += 1
        return 0

    @final
    cdef inline bytes _follow(self, object connection):
        """After a correct reply: in a closed loop, write the next message into the output buffer
        of ``connection`` if it is given and has space, and otherwise return it."""
        cdef int64_t now = self.now
        cdef bytes message = None
        if self.watched:
            message = self.continue_after_reply(now)
            self.now = clock()  # later than the due time of any message sent meanwhile
            return message
        if not self.counters.open_loop:
            self.now = now + 1  # no two messages of a connection have the same due time
            message = self._next_message(now, connection)
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
            message = self._next_message(due, connection)
            if message is not None:
                connection.send(message)
        finally:
            connection.end_serving()
        if not self.counters.sending:
            self.finish_if_idle()
        return 0

    def next_message(self, due):
        """The message due at ``due`` ns, to be sent now; None if no more may be sent."""
        return self._next_message(due, None)

    def outstanding(self):
        """The number of messages outstanding."""
        return self.number - self.first

    def oldest_message(self):
        """The oldest message outstanding; None if there is none."""
        return None if self.first == self.number else self._message(self.first)

    def index_of(self, bytes reply):
        """The index of the message outstanding that equals ``reply``; -1 if there is none. It
        makes no objects: a faulty server may cause this search for each of its replies."""
        cdef uint64_t index
        for index in range(self.first, self.number):
            if self._equal(index, reply):
                return index - self.first
        return -1

    def oldest_sent(self):
        """When the oldest message outstanding was sent, in ns; NEVER if there is none."""
        return NEVER if self.first == self.number else self._at(self.first).sent

    def drop(self, count):
        """Remove and return the oldest ``count`` messages outstanding."""
        dropped = [self._entry(index) for index in range(self.first, self.first + count)]
        for _ in dropped:
            self._pop()
        self.counters.count_dropped(len(dropped))
        return dropped

    @final
    cdef inline Entry *_at(self, uint64_t index) noexcept:
        return self.ring + (index & <uint64_t> (self.capacity - 1))

    cdef bytes _message(self, uint64_t index):
        """The bytes of the message outstanding with that number."""
        cdef Entry *entry = self._at(index)
        if entry.message is not NULL:
            return <bytes> entry.message
        return self.messages.make(self.serial, index, entry.due)

    cdef bint _equal(self, uint64_t index, bytes reply) except -1:
        """Does ``reply`` equal the message outstanding with that number?"""
        cdef Entry *entry = self._at(index)
        cdef const uint8_t *data = <const uint8_t *> PyBytes_AS_STRING(reply)
        if entry.message is not NULL:
            return <bytes> entry.message == reply
        return self.messages.equal(self.serial, index, entry.due, data, PyBytes_GET_SIZE(reply))

    cdef object _entry(self, uint64_t index):
        cdef Entry *entry = self._at(index)
        return entry.due, entry.sent, self._message(index)

    @final
    cdef inline bytes _next_message(self, int64_t due, object connection):
        cdef bytes message = None
        cdef uint8_t *place = NULL
        cdef Py_ssize_t size
        cdef int64_t sent
        cdef Entry entry
        if self.number - self.first == <uint64_t> self.capacity:
            self._grow()  # first: it may fail, and then nothing was counted
        if not self.counters.admit(due):
            return None
        if self.in_place:
            size = self.messages.size(self.serial, self.number)
            if connection is not None:
                place = (<ConnectionCore> connection).place(size)
        if place is not NULL:
            self.messages.write(self.serial, self.number, due, place, size)
        else:
            message = self.messages.make(self.serial, self.number, due)
            size = PyBytes_GET_SIZE(message)
        sent = self.counters.count_sent(due, size)  # may run Python, so the entry is made after it
        entry = Entry(due, sent, NULL)
        if not self.in_place:
            Py_INCREF(message)
            entry.message = <PyObject *> message
        self._at(self.number)[0] = entry
        self.number += 1
        return message

    @final
    cdef inline int _pop(self) except -1:
        """Remove the oldest message outstanding."""
        cdef PyObject *message = self._at(self.first).message
        self.first += 1
        if message is not NULL:
            Py_DECREF(<object> message)
        return 0

    cdef int _grow(self) except -1:
        """Double the capacity; entries move to their new index."""
        cdef Py_ssize_t old = self.capacity, capacity = 2 * old if old else 2
        cdef uint64_t index
        cdef Entry *ring = <Entry *> PyMem_Realloc(self.ring, capacity * sizeof(Entry))
        if ring is NULL:
            raise MemoryError
        self.ring, self.capacity = ring, capacity
        for index in range(self.first, self.number):
            # Entries whose index is now in the second half move there.
            if (index & <uint64_t> (capacity - 1)) >= <uint64_t> old:
                ring[index & <uint64_t> (capacity - 1)] = ring[index & <uint64_t> (old - 1)]
        return 0


class Pipeline(PipelineCore, BenchConnection):
    """The messages outstanding on one connection, oldest first, and what a reply does to them.

    Every message sent ends in exactly one way: answered correctly, answered wrongly, or
    unanswered. Each way counts it, and records its time, once.
    """

    __slots__ = ()


cdef inline Py_ssize_t _match_front(
    PipelineCore self, const uint8_t *data, Py_ssize_t most
) noexcept:
    """Match up to ``most`` frames at the front of ``data`` with the messages outstanding, if those
    were due in the present second. Records their times, removes them, and returns their number."""
    cdef const Frame *frame = &self.messages.frame
    cdef uint64_t first = self.first, index = first
    cdef Entry *entry
    while index < first + most:
        entry = self._at(index)
        if entry.due < self.counters.second_start:
            break
        if not equal_frame(frame, self.serial, index, entry.due, data):
            break
        self.counters.response.record(self.now - entry.due)
        data += frame.size
        index += 1
    self.first = index
    return index - first


cdef inline void _write_next(PipelineCore self, Py_ssize_t count, uint8_t *place) noexcept:
    """Write ``count`` messages, due now. As many were just removed, so the ring has space."""
    cdef const Frame *frame = &self.messages.frame
    cdef uint64_t number = self.number, last = number + count
    cdef int64_t due = self.now
    while number < last:
        self._at(number)[0] = Entry(due, due, NULL)
        write_frame(frame, self.serial, number, due, place)
        place += frame.size
        number += 1
        due += 1  # no two messages of a connection have the same due time
    self.number, self.now = number, due
