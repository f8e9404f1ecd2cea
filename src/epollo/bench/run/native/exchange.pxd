from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.bench.run.native.messages cimport Messages
from epollo.bench.run.native.tally cimport TallyCore
from epollo.engine.native.protocol cimport NativeProtocol

cdef struct Entry:
    int64_t due
    int64_t sent
    PyObject *message  # NULL: as `Messages` makes it


cdef class ExchangeCore(NativeProtocol):
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
    cdef bint in_place
    cdef int64_t now  # of the read that is going on; later by 1 ns for each message sent in it
    cdef public object driver, slot, lacking, late, mistaken, connection
    cdef public object idle, given_up
    cdef public object started, opened, first_reply

    cdef int send_due(self, int64_t due) except -1
    cdef bytes _received(self, bytes reply, object connection, int64_t now)
    cdef bytes _amiss(self, bytes reply, object connection)
    cdef int _settle(self, Entry *entry, int64_t now, Py_ssize_t size) except -1
    cdef bytes _follow(self, object connection)
    cdef Entry *_at(self, uint64_t index) noexcept
    cdef bytes _message(self, uint64_t index)
    cdef bint _equal(self, uint64_t index, bytes reply) except -1
    cdef object _entry(self, uint64_t index)
    cdef bytes _next_message(self, int64_t due, object connection)
    cdef int _pop(self) except -1
    cdef int _grow(self) except -1
