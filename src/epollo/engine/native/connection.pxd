from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.decoder cimport Stretch
from epollo.engine.native.context cimport Plan
from epollo.engine.native.sending cimport Sender


cdef class ConnectionCore(Sender):
    cdef int serve_ready(self, uint32_t events) except -1
    cdef bint well(self, uint32_t idle) except -1
    cdef int _receive_filtered(self) except -1
    cdef Py_ssize_t _receive(self, Stretch *rest) except -2
    cdef int _consume(self, Stretch *rest) except -1
    cdef bint _deliver_whole(self, Stretch *rest) except -1
    cdef bint _let_hear(self, Stretch *rest) except -1
    cdef bint _let_hear_each(self, Plan plan, Stretch *rest) except -1
    cdef uint8_t *place(self, Py_ssize_t size) except? NULL
    cdef bint begin_writing(self) except -1
    cdef int end_serving(self) except -1
    cdef int _deliver(self, Plan plan, object message) except -1
    cdef int _deliver_all(self, object messages) except -1
    cdef int _take_rest(self, Stretch *rest) except -1
    cdef bint _may_read(self, uint32_t events) except -1
