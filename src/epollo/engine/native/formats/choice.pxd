from epollo.engine.native.formats.base cimport FrameFormat


cdef FrameFormat format_of(object framing)
