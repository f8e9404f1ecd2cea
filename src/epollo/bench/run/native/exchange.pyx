"""One connection of a run, message by message: sends, waits for the replies, times each."""

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.bench.run.native.frame cimport Frame, equal_frame, write_frame
from epollo.bench.run.native.tally cimport clock
from epollo.engine.native.connection cimport ConnectionCore
from epollo.engine.native.decoder cimport Cursor, skip

from epollo.bench.run.connection import Conversation
from epollo.bench.run.metrics import NEVER

cdef Py_ssize_t _live = 0


def live():
    """How many exchanges there are: for tests that look for leaks."""
    return _live


cdef class ExchangeCore(NativeProtocol):
    """The part of an exchange that messages pass through, and its data.

    A message that `Messages` makes is written straight into the bytes to be sent, and compared
    with its reply where that lies. All others are objects, as in the Python room.
    """

    def __cinit__(self, *args):
        global _live
        _live += 1

    def __init__(self, driver, serial, slot, lacking):
        self.framing = driver.framing
        self.limits = driver.limits
        self.filters = driver.dialer.filters
        self.tally = driver.tally
        self.messages = driver.messages
        self.verify = driver.expectation.verify
        self.in_place = self.verify is None and self.messages.sizes is not NULL
        self.prepare(driver, serial, slot, lacking)

    def __dealloc__(self):
        global _live
        _live -= 1
        while self.first < self.number:
            self._pop()
        PyMem_Free(self.ring)

    cdef void begin_read(self) noexcept:
        self.now = clock()

    cdef Py_ssize_t on_batch(self, Cursor *cursor, uint8_t *place, Py_ssize_t room) noexcept:
        """In a closed loop: time the right replies that come first; write as many messages."""
        cdef Py_ssize_t size = self.messages.frame.size, most, count
        if not size or self.watched or not self.in_place or self.tally.open_loop:
            return 0
        most = min(min(cursor.count, room) // size, <Py_ssize_t> (self.number - self.first))
        if not self.tally.admits(self.now, most):
            return 0
        count = _time_right(self, cursor.data, most)
        _write_next(self, count, place)
        self.answered += count
        self.tally.exchanged(count, self.messages.frame.message)
        skip(cursor, count * size)
        return count * size

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        """Time one reply, if it is the right one; send the message that follows it."""
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
        """Time one reply, if it is the right one; returns the message to be sent for it."""
        self.now = clock()
        return self._received(reply, connection, self.now)

    cdef bytes _received(self, bytes reply, object connection, int64_t now):
        if self.first == self.number:
            return self._amiss(reply, connection)
        message = self._message(self.first)
        right = message == reply if self.verify is None else self.verify(message, reply)
        # The user's function may have run anything, so nothing of before is known any more.
        if not right or self.first == self.number:
            return self._amiss(reply, connection)
        self._settle(self._at(self.first), now, PyBytes_GET_SIZE(reply))
        return self._follow(None)

    cdef bytes _amiss(self, bytes reply, object connection):
        """One that is not right. What is sent for it is due now, so nothing is timed by a clock
        read before that: not even another wrong one, that came with it."""
        message = self.mismatch(reply, connection, clock())
        self.now = clock()
        return message

    @final
    cdef inline int _settle(self, Entry *entry, int64_t now, Py_ssize_t size) except -1:
        """The oldest message is answered rightly."""
        cdef int64_t due = entry.due, sent = entry.sent
        self._pop()
        self.tally.answered(due, sent, now, size)
        if due >= self.tally.begin:
            self.answered += 1
        return 0

    @final
    cdef inline bytes _follow(self, object connection):
        """What follows a right reply: in a closed loop the next message, which is written where
        it is sent from, if ``connection`` is given and has room, or else returned."""
        cdef int64_t now = self.now
        cdef bytes message = None
        if self.watched:
            message = self.go_on(now)
            self.now = clock()  # what it sent was due then, and what came with it is timed later
            return message
        if not self.tally.open_loop:
            self.now = now + 1  # no two messages of a connection are due at once
            message = self._next_message(now, connection)
        if not self.tally.sending:
            self.cursor()
        return message

    cdef int send_due(self, int64_t due) except -1:
        """Send the message that is due at that time, at once, behind those sent before."""
        cdef ConnectionCore connection = self.connection
        cdef bytes message
        if not connection.begin_writing():  # an object, which goes out when the turn ends
            self.send(due)
            return 0
        try:
            message = self._next_message(due, connection)
            if message is not None:
                connection.send(message)
        finally:
            connection.end_serving()
        if not self.tally.sending:
            self.cursor()
        return 0

    def next_message(self, due):
        """The message due at that time, which is to be sent now; None where there is none."""
        return self._next_message(due, None)

    def outstanding(self):
        """How many messages are."""
        return self.number - self.first

    def awaited(self):
        """The oldest message outstanding; None where there is none."""
        return None if self.first == self.number else self._message(self.first)

    def place_of(self, bytes reply):
        """Which of those outstanding is that message, from 0; -1: none. It makes no objects: a
        server that answers wrongly may be asked for it with each reply, while many wait."""
        cdef uint64_t index
        for index in range(self.first, self.number):
            if self._equal(index, reply):
                return index - self.first
        return -1

    def oldest(self):
        """When the oldest of them was sent, in ns; NEVER where there is none."""
        return NEVER if self.first == self.number else self._at(self.first).sent

    def drop(self, count):
        """Take the oldest ones off."""
        dropped = [self._entry(index) for index in range(self.first, self.first + count)]
        for _ in dropped:
            self._pop()
        self.tally.outstanding -= len(dropped)
        return dropped

    @final
    cdef inline Entry *_at(self, uint64_t index) noexcept:
        return self.ring + (index & <uint64_t> (self.room - 1))

    cdef bytes _message(self, uint64_t index):
        """The bytes of one that is outstanding."""
        cdef Entry *entry = self._at(index)
        if entry.message is not NULL:
            return <bytes> entry.message
        return self.messages.make(self.serial, index, entry.due)

    cdef bint _equal(self, uint64_t index, bytes reply) except -1:
        """Is that the message outstanding?"""
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
        if not self.tally.admit(due):
            return None
        if self.number - self.first == <uint64_t> self.room:
            self._grow()
        if self.in_place:
            size = self.messages.size(self.serial, self.number)
            if connection is not None:
                place = (<ConnectionCore> connection).place(size)
        if place is not NULL:
            self.messages.write(self.serial, self.number, due, place, size)
        else:
            message = self.messages.make(self.serial, self.number, due)
            size = PyBytes_GET_SIZE(message)
        sent = self.tally.left(due, size)  # which may run Python, so the entry is made after it
        entry = Entry(due, sent, NULL)
        if not self.in_place:
            Py_INCREF(message)
            entry.message = <PyObject *> message
        self._at(self.number)[0] = entry
        self.number += 1
        return message

    @final
    cdef inline int _pop(self) except -1:
        """The oldest one is done with."""
        cdef PyObject *message = self._at(self.first).message
        self.first += 1
        if message is not NULL:
            Py_DECREF(<object> message)
        return 0

    cdef int _grow(self) except -1:
        """Twice the room; what is outstanding moves to where it belongs in it."""
        cdef Py_ssize_t old = self.room, room = 2 * old if old else 2
        cdef uint64_t index
        cdef Entry *ring = <Entry *> PyMem_Realloc(self.ring, room * sizeof(Entry))
        if ring is NULL:
            raise MemoryError
        self.ring, self.room = ring, room
        for index in range(self.first, self.number):
            # The first half is as it was; what belongs to the second one moves there.
            if (index & <uint64_t> (room - 1)) >= <uint64_t> old:
                ring[index & <uint64_t> (room - 1)] = ring[index & <uint64_t> (old - 1)]
        return 0


class Exchange(ExchangeCore, Conversation):
    """The protocol of one connection.

    Every message sent leaves by one of three doors: answered rightly, answered wrongly, or
    unanswered. Each of them counts it, and records its time, once.
    """

    __slots__ = ()


cdef inline Py_ssize_t _time_right(
    ExchangeCore self, const uint8_t *data, Py_ssize_t most
) noexcept:
    """Of so many frames, those that come first and are the replies awaited, to messages due in the
    present second. They are timed, and done with; returns how many."""
    cdef const Frame *frame = &self.messages.frame
    cdef uint64_t first = self.first, index = first
    cdef Entry *entry
    while index < first + most:
        entry = self._at(index)
        if entry.due < self.tally.second_start:
            break
        if not equal_frame(frame, self.serial, index, entry.due, data):
            break
        self.tally.response.record(self.now - entry.due)
        data += frame.size
        index += 1
    self.first = index
    return index - first


cdef inline void _write_next(ExchangeCore self, Py_ssize_t count, uint8_t *place) noexcept:
    """So many messages, due now. The ring has room for them where as many were answered."""
    cdef const Frame *frame = &self.messages.frame
    cdef uint64_t number = self.number, last = number + count
    cdef int64_t due = self.now
    while number < last:
        self._at(number)[0] = Entry(due, due, NULL)
        write_frame(frame, self.serial, number, due, place)
        place += frame.size
        number += 1
        due += 1  # no two messages of a connection are due at once
    self.number, self.now = number, due
