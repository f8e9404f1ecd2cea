from libc.stdint cimport uint32_t, uint64_t


cdef class Counts:
    cdef uint32_t *indexes  # rising
    cdef uint64_t *values
    cdef Py_ssize_t count
    cdef dict others

    cdef Py_ssize_t _find(self, Py_ssize_t index) noexcept


cdef Counts counts_of(const uint64_t *buckets, Py_ssize_t used)
