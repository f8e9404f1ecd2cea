"""Frames that are nothing but their message: `epollo.framing.fixed` and `epollo.framing.raw`."""

from cython cimport final
from libc.stdint cimport uint8_t

from epollo.engine.native.formats.base cimport (
    HEADER,
    PART,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
)
from epollo.engine.native.formats.words cimport Octets


@final
cdef class FixedFormat(FrameFormat):
    """A fixed number of bytes: see `epollo.framing.fixed`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.size = framing.size
        self.again.least = 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        span.start = 0
        span.stop = span.size = self.size
        return WHOLE if count >= self.size else PART

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = sizes.trailer = 0
        return size == self.size


@final
cdef class RawFormat(FrameFormat):
    """The bytes of one read: see `epollo.framing.raw`."""

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        span.start = 0
        span.stop = span.size = count
        return WHOLE if count else HEADER

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = sizes.trailer = 0
        return True
