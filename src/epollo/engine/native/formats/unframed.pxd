from epollo.engine.native.formats.base cimport FrameFormat


cdef class FixedFormat(FrameFormat):
    cdef Py_ssize_t size


cdef class RawFormat(FrameFormat):
    pass
