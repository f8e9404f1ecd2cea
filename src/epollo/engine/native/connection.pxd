from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.decoder cimport Cursor
from epollo.engine.native.context cimport ConnectionContext
from epollo.engine.native.formats.base cimport Found
from epollo.engine.native.life cimport Life


cdef class ConnectionCore(Life):
    cdef int serve_ready(self, uint32_t events) except -1
    cdef int push_frame(self, bytes frame) except -1
    cdef int queue_frame(self, bytes frame) except -1
    cdef bint only_reads(self) noexcept
    cdef bint well(self, uint32_t idle, dict own) except -1
    cdef bint holds(self) noexcept
    cdef int _receive_filtered(self) except -1
    cdef Py_ssize_t _receive(self, Cursor *cursor) except -2
    cdef Py_ssize_t _receive_more(self, Cursor *cursor) except -2
    cdef bint _keep_rest(self, Found found, Cursor *cursor) except -1
    cdef int _consume(self, Cursor *cursor) except -1
    cdef bint _deliver_whole(self, Cursor *cursor) except -1
    cdef int _delivery_failed(self, bint handled) except -1
    cdef bint _dispatch_native(self, Cursor *cursor) except -1
    cdef bint _dispatch_native_each(self, ConnectionContext context, Cursor *cursor) except -1
    cdef uint8_t *place(self, Py_ssize_t size) except? NULL
    cdef bint begin_writing(self) except -1
    cdef int end_serving(self) except -1
    cdef int _deliver(self, ConnectionContext context, object message) except -1
    cdef Py_ssize_t _deliver_all(self, object messages) except -2
    cdef int _deliver_rest(self, Cursor *cursor) except -1
    cdef bytes _deliver_held(self, Cursor *cursor)
    cdef int _pass_on_interrupt(self) except -1
    cdef bytes _read_from(self, Cursor *cursor)
    cdef bint _may_read(self, uint32_t events) except -1
