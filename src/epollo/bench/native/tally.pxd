from libc.stdint cimport int64_t

from epollo.bench.native.recorder cimport Recorder

cdef int64_t NEVER

cdef int64_t clock() noexcept


cdef class TallyCore:
    cdef public int64_t begin
    cdef public int64_t end
    cdef public int64_t second_start
    cdef public int64_t second_end
    cdef public int64_t sent
    cdef public int64_t right
    cdef public int64_t bytes_sent
    cdef public int64_t bytes_received
    cdef public int64_t outstanding
    cdef public int64_t quota
    cdef public bint sending
    cdef public bint open_loop
    cdef Recorder response
    cdef Recorder service
    cdef Recorder slip

    cdef bint admit(self, int64_t due) except -1
    cdef int64_t left(self, int64_t due, Py_ssize_t size) except -1
    cdef int answered(self, int64_t due, int64_t sent, int64_t now, Py_ssize_t size) except -1
    cpdef record(self, int64_t due, int64_t sent, int64_t now)
