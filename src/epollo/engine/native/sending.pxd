from epollo.engine.native.endpoint cimport Endpoint

cdef enum:
    LARGE = 8 << 10  # bytes; a reply so long is sent from where it is, a rest read into its place


cdef class Sender(Endpoint):
    cdef int pack(self, bytes message) except -1
    cdef int flush(self) except -1
    cdef int send_replies(self, bytes last, Py_ssize_t trailer) except -1
    cdef int send_outbox(self) except -1
    cdef int _append(self, bytes message, Py_ssize_t header, Py_ssize_t trailer) except -1
    cdef int _send_filtered(self, bytes last, Py_ssize_t trailer) except -1
    cdef int _leave_unsent(self, Py_ssize_t sent, bytes last, Py_ssize_t trailer) except -1
    cdef int _relieve(self) except -1
