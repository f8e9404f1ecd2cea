from epollo.engine.native.endpoint cimport Endpoint


cdef class Sender(Endpoint):
    cdef int queue_bytes(self, bytes data) except -1
    cdef int schedule(self) except -1
    cdef int flush(self) except -1
    cdef int send_replies(self, bytes last, Py_ssize_t trailer) except -1
    cdef int send_outbox(self) except -1
    cdef int relieve(self) except -1
    cdef int grow(self, Py_ssize_t count) except -1
    cdef int _send_filtered(self, bytes last, Py_ssize_t trailer) except -1
    cdef int _leave_unsent(self, Py_ssize_t sent, bytes last, Py_ssize_t trailer) except -1
