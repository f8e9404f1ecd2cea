from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef class Messages:
    cdef object payload
    cdef object python  # makes those that are not made here
    cdef bytes pattern
    cdef const uint8_t *pattern_data
    cdef Py_ssize_t *sizes
    cdef Py_ssize_t count

    cdef bytes make(self, uint64_t connection, uint64_t number, int64_t due)
