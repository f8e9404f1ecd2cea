from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.engine.native.formats.base cimport Envelope, Found, FrameFormat
from epollo.engine.native.formats.words cimport Octets

cdef struct Number:  # the length in a frame
    uint64_t value  # at most 2^63 - 1
    Py_ssize_t width  # bytes that it takes


cdef class AnnouncedFormat(FrameFormat):
    cdef Py_ssize_t offset
    cdef int64_t adjust
    cdef uint64_t most_value
    cdef bint whole  # the message is the whole frame
    cdef Py_ssize_t told  # the first byte of a frame that tells its size
    cdef uint8_t ending  # the byte that ends every frame, if there is a trailer

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept
    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept
    cdef bint _wrap(self, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept


cdef class DigitsFormat(AnnouncedFormat):
    cdef Py_ssize_t size


cdef class DigitsUntilFormat(AnnouncedFormat):
    cdef Py_ssize_t most_digits
    cdef uint8_t stop


cdef class BcdFormat(AnnouncedFormat):
    cdef Py_ssize_t size


cdef class VarintFormat(AnnouncedFormat):
    cdef Py_ssize_t most_width


cdef class BerFormat(AnnouncedFormat):
    pass
