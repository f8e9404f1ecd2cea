"""The base of all formats, and what connections call for each frame (in the `.pxd`, as inlined)."""

from libc.stdint cimport INT64_MAX, uint8_t
from libc.string cimport memcpy

from epollo.engine.native.formats.words cimport WORD, Octets

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef class FrameFormat:
    """One framing's; shared by any number of connections."""

    def __init__(self, framing):
        cdef Py_ssize_t i
        self.framing = framing
        self.max_frame = min(framing.max_frame, INT64_MAX)
        self.plain = -1
        self.asks = False
        self.last.mask = 0
        self.last.ending = -1
        for i in range(WRAPPED):
            self.wrapped[i].message = -1
        self.field.need = PY_SSIZE_T_MAX
        self.again.least = PY_SSIZE_T_MAX
        self.again.last_byte = -1
        self._end_with(b"")

    cdef int _end_with(self, bytes trailer) except -1:
        self.trailer = trailer
        self.trailer_data, self.trailer_size = self.trailer, len(self.trailer)
        self.trailer_word = 0
        memcpy(&self.trailer_word, self.trailer_data, min(WORD, self.trailer_size))
        self.again.sizes.trailer = self.trailer_size
        return 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        """The span of the frame that begins at ``data``; ``seen`` bytes were looked at before."""
        return BAD

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        """Write the header of a message, and set the sizes of header and trailer; false if only
        the framing itself can encode it."""
        return False
