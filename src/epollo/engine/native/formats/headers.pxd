from libc.stdint cimport int64_t, uint8_t

from epollo.engine.native.formats.base cimport Envelope, Found, FrameFormat, Span
from epollo.engine.native.formats.words cimport Octets

cdef enum:
    BLOCK = 256  # bytes of a block of headers that is remembered


cdef struct Block:  # the headers of the last frame: many are the same again, or have another number
    Py_ssize_t size  # bytes; 0: nothing is remembered
    Span span
    Py_ssize_t number  # where the length of the body begins, in digits; 0: it has none
    Py_ssize_t after  # where it ends
    uint8_t data[BLOCK]


cdef struct Length:  # of a body, as a header tells it
    int64_t value  # -1: there is none yet
    Octets begin  # of its digits
    Octets end


cdef class HeadersFormat(FrameFormat):
    cdef Py_ssize_t most
    cdef bytes alias
    cdef Octets alias_data
    cdef Py_ssize_t alias_size
    cdef Block block

    cdef Found _find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept
    cdef Found _ended(self, Octets data, Py_ssize_t count, Py_ssize_t seen) noexcept
    cdef Found _parse(self, Octets data, Py_ssize_t count, Span *span) noexcept
    cdef Found _of_length(self, Octets line, Py_ssize_t size, Length *length) noexcept
    cdef bint _of_number(self, Octets data, Py_ssize_t count, Span *span) noexcept
    cdef int _remember(self, Octets data, Py_ssize_t size, Span *span, Length *length) noexcept
