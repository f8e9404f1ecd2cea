"""One connection of a run, message by message: sends, waits for the replies, times each."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from epollo.bench.native.messages cimport Messages
from epollo.bench.native.tally cimport TallyCore, clock

from epollo.bench.conversation import Conversation
from epollo.bench.ledger import NEVER

cdef struct Entry:
    int64_t due
    int64_t sent
    PyObject *message


cdef Py_ssize_t _live = 0


def live():
    """How many exchanges there are: for tests that look for leaks."""
    return _live


cdef class ExchangeCore:
    """The part of an exchange that messages pass through, and its data."""

    cdef readonly object framing
    cdef readonly object limits
    cdef readonly object filters
    cdef readonly TallyCore tally
    cdef Messages messages
    cdef object verify
    cdef Entry *ring  # of those outstanding; `room` of them, a power of two
    cdef Py_ssize_t room
    cdef uint64_t first  # the oldest, counted from the first message on
    cdef public uint64_t number  # messages sent
    cdef public int64_t answered
    cdef public uint64_t serial
    cdef public bint watched
    cdef public object driver, slot, lacking, late, forgone, mistaken, connection
    cdef public object idle, given_up
    cdef public object started, opened, first_reply

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
        self.prepare(driver, serial, slot, lacking)

    def __dealloc__(self):
        global _live
        _live -= 1
        while self.first < self.number:
            Py_DECREF(<object> self._at(self.first).message)
            self.first += 1
        PyMem_Free(self.ring)

    def received(self, bytes reply, connection):
        """Time one reply, if it is the right one; returns the message to be sent for it."""
        cdef int64_t now = clock()
        cdef Entry *entry
        cdef TallyCore tally = self.tally
        cdef int64_t due
        if self.first == self.number:
            return self.mismatch(reply, connection, now)
        entry = self._at(self.first)
        if self.verify is None:
            right = _equal(<bytes> entry.message, reply)
        else:
            right = self.verify(<bytes> entry.message, reply)
        if not right:
            return self.mismatch(reply, connection, now)
        due = entry.due
        self.first += 1
        tally.answered(due, entry.sent, now, PyBytes_GET_SIZE(reply))
        Py_DECREF(<object> entry.message)
        if due >= tally.begin:
            self.answered += 1
        if self.watched:
            return self.go_on(now)
        message = None if tally.open_loop else self._next_message(now)
        if message is None and not tally.sending:
            self.rest()
        return message

    def next_message(self, due):
        """The message due at that time, which is to be sent now; None where there is none."""
        return self._next_message(due)

    def entries(self):
        """The messages that are outstanding, the oldest first."""
        cdef uint64_t index
        return [_tuple(self._at(index)) for index in range(self.first, self.number)]

    def oldest(self):
        """When the oldest of them was sent, in ns; NEVER where there is none."""
        return NEVER if self.first == self.number else self._at(self.first).sent

    def drop(self, count):
        """Take the oldest ones off."""
        dropped = self.entries()[:count]
        for _ in dropped:
            Py_DECREF(<object> self._at(self.first).message)
            self.first += 1
        self.tally.outstanding -= len(dropped)
        return dropped

    cdef inline Entry *_at(self, uint64_t index) noexcept:
        return self.ring + (index & <uint64_t> (self.room - 1))

    cdef bytes _next_message(self, int64_t due):
        cdef Entry *entry
        cdef bytes message
        if not self.tally.admit(due):
            return None
        if self.number - self.first == <uint64_t> self.room:
            self._grow()
        message = self.messages.make(self.serial, self.number, due)
        entry = self._at(self.number)
        entry.due = due
        entry.sent = self.tally.left(due, PyBytes_GET_SIZE(message))
        Py_INCREF(message)
        entry.message = <PyObject *> message
        self.number += 1
        return message

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


cdef inline bint _equal(bytes one, bytes other) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(one)
    return size == PyBytes_GET_SIZE(other) and not memcmp(
        PyBytes_AS_STRING(one), PyBytes_AS_STRING(other), size
    )


cdef object _tuple(Entry *entry):
    return entry.due, entry.sent, <object> entry.message


class Exchange(ExchangeCore, Conversation):
    """The protocol of one connection.

    Every message sent leaves by one of three doors: answered rightly, answered wrongly, or
    unanswered. Each of them counts it, and records its time, once.
    """

    __slots__ = ()
