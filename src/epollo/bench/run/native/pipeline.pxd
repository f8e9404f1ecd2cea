from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.bench.run.native.counters cimport MessageCountersCore
from epollo.bench.run.native.messages cimport Messages
from epollo.engine.native.protocol cimport NativeProtocol

cdef struct Entry:
    int64_t due
    int64_t sent
    PyObject *message  # NULL: made by `Messages`


cdef class PipelineCore(NativeProtocol):
    cdef readonly object framing
    cdef readonly object limits
    cdef readonly object filters
    cdef readonly MessageCountersCore counters
    cdef Messages messages
    cdef object verify
    cdef Entry *ring  # of the messages outstanding; `capacity` entries, a power of two
    cdef Py_ssize_t capacity
    cdef uint64_t first  # number of the oldest message outstanding
    cdef public uint64_t number  # messages sent
    cdef public int64_t answered
    cdef public uint64_t serial
    cdef public bint watched
    cdef bint in_place
    cdef int64_t now  # of the present read; 1 ns later for each message sent in it
    cdef public object context, listener, slot, ramp_remaining, overtaken, last_wrong, transport
    cdef public object idle, timed_out, greeting_due, preamble
    cdef public object started, connect_time, first_reply

    cdef int send_due(self, int64_t due) except -1
    cdef bytes _received(self, bytes reply, object connection, int64_t now)
    cdef bytes _mismatch(self, bytes reply, object connection)
    cdef int _settle(self, Entry *entry, int64_t now, Py_ssize_t size) except -1
    cdef bytes _follow(self, object connection)
    cdef Entry *_at(self, uint64_t index) noexcept
    cdef bytes _message(self, uint64_t index)
    cdef bint _equal(self, uint64_t index, bytes reply) except -1
    cdef object _entry(self, uint64_t index)
    cdef bytes _next_message(self, int64_t due, object connection)
    cdef int _pop(self) except -1
    cdef int _grow(self) except -1
