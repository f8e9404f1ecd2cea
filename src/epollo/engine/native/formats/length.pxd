from libc.stdint cimport int64_t

from epollo.engine.native.formats.base cimport FrameFormat


cdef class LengthFormat(FrameFormat):
    cdef Py_ssize_t size
    cdef Py_ssize_t end
    cdef bint before  # the header goes before the message
    cdef int64_t adjust
