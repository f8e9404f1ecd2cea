from libc.stdint cimport uint8_t, uint64_t

from epollo.engine.native.formats.base cimport Envelope, Found, FrameFormat, Span
from epollo.engine.native.formats.words cimport Octets


cdef class DelimiterFormat(FrameFormat):
    cdef bint line
    cdef bytes start  # of every frame; may be empty
    cdef const uint8_t *start_data
    cdef Py_ssize_t start_size
    cdef bytes end
    cdef const uint8_t *end_data
    cdef Py_ssize_t end_size
    cdef uint8_t first[16]  # 16 times the first byte of the end
    cdef uint64_t start_word
    cdef uint64_t start_mask
    cdef uint64_t end_word
    cdef uint64_t end_mask
    cdef bint brief  # start and end have at most as many bytes as a word
    cdef Py_ssize_t near  # bytes of which the first are searched without a call

    cdef Found _search(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept
    cdef bint _wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept
    cdef int _seek(self) except -1
    cdef Octets _end_in(self, Octets data, Py_ssize_t count) noexcept
    cdef Py_ssize_t _partial_delimiter(self, Octets data, Py_ssize_t count) noexcept
