from libc.stdint cimport uint8_t

from epollo.engine.native.formats.base cimport Found, FrameFormat, Span
from epollo.engine.native.formats.sized cimport SizedFormat

cdef struct Cursor:  # the bytes of a read that are not decoded yet
    const uint8_t *data
    Py_ssize_t count
    bint needs_fallback  # only the framing's own decoder knows how to go on
    Py_ssize_t messages  # how many were decoded


cdef inline void skip(Cursor *cursor, Py_ssize_t count) noexcept:
    cursor.data += count
    cursor.count -= count


cdef class Partial:
    cdef object fallback
    cdef object header  # of a frame of which Python code has not said the size yet
    cdef uint8_t *head
    cdef Py_ssize_t held
    cdef Py_ssize_t room
    cdef Py_ssize_t seen
    cdef Span span
    cdef bytes message
    cdef Py_ssize_t received

    cdef bytes complete(self, FrameFormat format, Cursor *cursor)
    cdef Py_ssize_t wanted(self, uint8_t **place) noexcept
    cdef bytes so_far(self, FrameFormat format)
    cdef Py_ssize_t size(self)
    cdef bint _ask(self, SizedFormat format, Cursor *cursor) except -1
    cdef bint _took_size(
        self, SizedFormat format, Py_ssize_t size, Py_ssize_t before, Cursor *cursor
    ) except -1
    cdef bint _trailer(self, FrameFormat format, Cursor *cursor) noexcept
    cdef bint _find(self, FrameFormat format, Cursor *cursor) except -1
    cdef int _begin(self, Cursor *cursor) except -1
    cdef int _fill(self, const uint8_t *data, Py_ssize_t count) except -1
    cdef int _hold(self, const uint8_t *data, Py_ssize_t count) except -1


cdef class StreamDecoder:
    cdef Partial partial

    cdef bytes next_message(self, FrameFormat format, Cursor *cursor)
    cdef bytes complete(self, FrameFormat format, Cursor *cursor)
    cdef bint keep(self, Found found, FrameFormat format, Cursor *cursor) except -1
    cdef list all_messages(self, FrameFormat format, Cursor *cursor)
    cdef list decode_by_fallback(self, FrameFormat format, Cursor *cursor)
    cdef int check_end(self, FrameFormat format) except -1
    cdef int keep_raw(self, FrameFormat format) except -1


cdef class Decoder(StreamDecoder):
    cdef FrameFormat format
