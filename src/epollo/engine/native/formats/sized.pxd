from libc.stdint cimport uint8_t, uint64_t

from epollo.engine.native.formats.base cimport Found, FrameFormat, Span
from epollo.engine.native.formats.named cimport Measure
from epollo.engine.native.formats.words cimport Octets

cdef enum:
    SLOTS = 64  # sizes that are remembered; a power of two
    WIDTHS = 3  # how many widths of a short header are remembered
    LOOK = 64  # bytes that are looked at first

cdef struct Known:  # what `measure` has said for a header of up to eight bytes
    uint64_t begin
    Py_ssize_t width  # bytes of the header; 0: nothing is known
    Py_ssize_t size


cdef class SizedFormat(FrameFormat):
    cdef object measure  # of a bound method, its function
    cdef object bound  # and the object that it is bound to; else None
    cdef Measure own  # without Python, for some classes; or NULL
    cdef Py_ssize_t previous  # size of a frame of which that has told it
    cdef object header_class
    cdef object spare  # a header that is not in use
    cdef object raised  # by `measure`, and not yet by the decoder
    cdef Py_ssize_t strip
    cdef Py_ssize_t least
    cdef bint encodes  # the message with its trailer is the frame
    cdef bytes filler
    cdef uint8_t is_filler[256]  # of each byte
    cdef Py_ssize_t lessons  # headers of which the shortest width is still to be tried
    cdef Py_ssize_t widths[WIDTHS]  # of headers, in ascending order; 0: not in use
    cdef Known known[SLOTS]
    cdef uint8_t block_data[LOOK]  # a longer header
    cdef Py_ssize_t block_width  # bytes; 0: nothing is known
    cdef Py_ssize_t block_size  # of the frame

    cdef Py_ssize_t skip_filler(self, Octets data, Py_ssize_t count) noexcept
    cdef object new_header(self)
    cdef bint interrupted(self) noexcept
    cdef Py_ssize_t told(self, object header) noexcept
    cdef bint ends_well(self, Octets data, Span *span) noexcept
    cdef Py_ssize_t _ask(self, Octets data, Py_ssize_t count) noexcept
    cdef Py_ssize_t _ask_each(self, object header, Octets data, Py_ssize_t count) except? -2
    cdef Py_ssize_t _ask_with(
        self, object header, Octets data, Py_ssize_t width
    ) except? -2
    cdef bint _has_width(self, Py_ssize_t width) noexcept
    cdef int told_by(self, Py_ssize_t count) noexcept
    cdef Py_ssize_t recall(self, Octets data, Py_ssize_t count) noexcept
    cdef Found _find(self, Octets data, Py_ssize_t count, Span *span) noexcept
    cdef Py_ssize_t _size(self, Octets data, Py_ssize_t count) noexcept
    cdef int _learn(
        self, Octets data, Py_ssize_t count, Py_ssize_t width, Py_ssize_t size
    ) noexcept
    cdef Py_ssize_t _say(self, object header) except? -2
    cdef int _expect(self, uint64_t begin, Py_ssize_t width, Py_ssize_t size) noexcept
    cdef int _remember(self, uint64_t begin, Py_ssize_t width, Py_ssize_t size) noexcept
    cdef bint _is_block(self, Octets data, Py_ssize_t count) noexcept
    cdef int _remember_long(self, Octets data, Py_ssize_t width, Py_ssize_t size) noexcept
