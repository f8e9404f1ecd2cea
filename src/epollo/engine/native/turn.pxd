from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    READ_SIZE = 256 << 10  # bytes of one recv
    REPLY_SIZE = 64 << 10  # bytes of replies of one send


cdef class Turn:
    cdef uint8_t *input
    cdef uint8_t *output
    cdef Py_ssize_t used  # of the output
    cdef object serving
    cdef unsigned long thread
    cdef list dirty
    cdef uint32_t tick  # counts the sweeps
