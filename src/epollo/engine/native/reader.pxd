from libc.stdint cimport uint8_t


cdef class Reader:
    cdef int begin_read(self) except -1
    cdef bytes hear(self, object connection, const uint8_t *data, Py_ssize_t size)
