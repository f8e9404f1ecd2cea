"""Decodes the messages of one stream, in place; it keeps a partial frame, and nothing else."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from epollo.engine.native.formats cimport (
    BAD,
    HEADER,
    PART,
    WHOLE,
    Found,
    FrameFormat,
    Span,
    find_frame,
    format_of,
)

from epollo.errors import FrameError

cdef enum:
    STEP = 64  # bytes looked at first for a frame's header, or its delimiter
    MOST_AT_ONCE = 256 << 20  # bytes; memory for a longer message is taken only as it comes


cdef Py_ssize_t _live = 0


def live():
    """How many partial frames there are, in all streams: for tests that look for leaks."""
    return _live


cdef class Partial:
    """A frame of which a part has come; or a stream that the framing's own decoder decodes.

    While its size is unknown, the bytes are kept as they came. Then its message is made at its
    full size, once, and filled as the bytes come; a long one is filled by readv(2) itself.
    """

    def __cinit__(self):
        global _live
        _live += 1

    def __dealloc__(self):
        global _live
        _live -= 1
        PyMem_Free(self.head)

    cdef bytes complete(self, FrameFormat format, Cursor *cursor):
        """Take the bytes of the frame from ``cursor``; returns the message if that completes it."""
        if self.fallback is not None:
            cursor.needs_fallback = True
            return None
        if self.message is None and not self._find(format, cursor):
            return None
        cdef Py_ssize_t count = min(self.span.stop - self.received, cursor.count)
        if count > 0:
            self._fill(cursor.data, count)
            skip(cursor, count)
        if self.received >= self.span.stop and self.received < self.span.size:  # trailer
            if not cursor.count:
                return None
            if cursor.data[0] != format.trailer_data[0]:
                cursor.needs_fallback = True
                return None
            self.received += 1
            skip(cursor, 1)
        return self.message if self.received == self.span.size else None

    cdef Py_ssize_t wanted(self, uint8_t **place) noexcept:
        """How many bytes of its message are still to come; and the place for them."""
        if self.message is None or self.received < self.span.start:
            return 0
        place[0] = <uint8_t *> PyBytes_AS_STRING(self.message) + self.received - self.span.start
        return self.span.stop - self.received

    cdef bytes so_far(self):
        """The bytes of the frame that have come."""
        if self.message is None:
            return self.head[:self.held]
        cdef bytes begin = self.head[:min(self.held, self.span.start)]
        return begin + self.message[:max(0, self.received - self.span.start)]

    cdef bint _find(self, FrameFormat format, Cursor *cursor) except -1:
        """Look for the frame's size, in a few bytes first, which are likely to contain it."""
        cdef Py_ssize_t step
        cdef Found found
        while cursor.count:
            step = min(cursor.count, max(STEP, self.held))
            self._hold(cursor.data, step)
            skip(cursor, step)
            found = format.find(self.head, self.held, self.seen, &self.span)
            if found == BAD or (found == PART and self.span.size > MOST_AT_ONCE):
                cursor.needs_fallback = True
                return False
            if found != HEADER:
                self._begin(cursor)
                return True
            self.seen = self.held
        return False

    cdef int _begin(self, Cursor *cursor) except -1:
        """The size is known: give back the bytes of the next frame, and make the message."""
        cdef Py_ssize_t extra = max(0, self.held - self.span.size)
        skip(cursor, -extra)
        self.held -= extra
        cdef Py_ssize_t start = self.span.start, size = self.span.stop - self.span.start
        self.message = PyBytes_FromStringAndSize(NULL, size)
        self.received = self.held
        if self.held > start:
            memcpy(PyBytes_AS_STRING(self.message), self.head + start, min(self.held - start, size))
        return 0

    cdef int _fill(self, const uint8_t *data, Py_ssize_t count) except -1:
        """More of the frame, at most to the end of its message."""
        cdef char *place
        cdef Py_ssize_t before = min(count, max(0, self.span.start - self.received))
        if before:
            self._hold(data, before)
            self.received += before
        if count > before:
            place = PyBytes_AS_STRING(self.message) + self.received - self.span.start
            memcpy(place, data + before, count - before)
            self.received += count - before
        return 0

    cdef int _hold(self, const uint8_t *data, Py_ssize_t count) except -1:
        cdef Py_ssize_t room = self.held + count
        if room > self.room:
            room = max(room, 2 * self.room)
            head = <uint8_t *> PyMem_Realloc(self.head, room)
            if head is NULL:
                raise MemoryError
            self.head, self.room = head, room
        memcpy(self.head + self.held, data, count)
        self.held += count
        return 0


cdef class StreamDecoder:
    """The bytes of one stream that are no message yet: none, or a part of a frame."""

    cdef bytes next_message(self, FrameFormat format, Cursor *cursor):
        """The next message, taken from ``cursor``. None if there is no whole one, and the bytes are
        kept; or if it needs the fallback."""
        cdef bytes message
        cdef Span span
        cdef Found found
        if self.partial is not None:
            return self.complete(format, cursor)
        if not cursor.count:
            return None
        found = find_frame(format, cursor.data, cursor.count, &span)
        if found != WHOLE:
            self.keep(found, format, cursor)
            return None
        message = PyBytes_FromStringAndSize(
            <const char *> cursor.data + span.start, span.stop - span.start
        )
        skip(cursor, span.size)
        return message

    cdef bytes complete(self, FrameFormat format, Cursor *cursor):
        """The message of the partial frame; None if it is still partial, or needs the fallback."""
        cdef bytes message = self.partial.complete(format, cursor)
        if message is not None:
            self.partial = None
        return message

    cdef bint keep(self, Found found, FrameFormat format, Cursor *cursor) except -1:
        """``cursor`` begins with no whole frame: keep its bytes; true if it needs the fallback."""
        if found == BAD:
            cursor.needs_fallback = True
        else:
            self.partial = Partial()
            self.partial.complete(format, cursor)
        return cursor.needs_fallback

    cdef list all_messages(self, FrameFormat format, Cursor *cursor):
        """All messages of ``cursor``. Raises FrameError, with those before the bad frame."""
        cdef list messages = []
        cdef bytes message = self.next_message(format, cursor)
        while message is not None:
            messages.append(message)
            message = self.next_message(format, cursor)
        if cursor.needs_fallback:
            try:
                messages += self.decode_by_fallback(format, cursor)
            except FrameError as error:
                error.messages = messages + error.messages
                raise
        return messages

    cdef list decode_by_fallback(self, FrameFormat format, Cursor *cursor):
        """The remaining bytes, and all later ones, go to the framing's own decoder. It raises
        FrameError; or it returns messages, of a user's own framing or a huge frame."""
        cdef bytes held = cursor.data[:cursor.count]
        cursor.count = 0
        if self.partial is None or self.partial.fallback is None:
            if self.partial is not None:
                held = self.partial.so_far() + held
            self.partial = Partial()
            self.partial.fallback = format.framing.decoder()
        return list(self.partial.fallback.feed(held))

    cdef int check_end(self, FrameFormat format) except -1:
        """The stream has ended. Raises FrameTruncated inside a frame."""
        if self.partial is None and type(format) is not FrameFormat:
            return 0
        fallback = None if self.partial is None else self.partial.fallback
        if fallback is None:  # a user's own decoder is told of the end of an empty stream, too
            fallback = format.framing.decoder()
            if self.partial is not None:
                fallback.feed(self.partial.so_far())
        fallback.eof()
        return 0


cdef class Decoder(StreamDecoder):
    """The messages of one stream, as `epollo.framing.Decoder` has them; to be compared with it."""

    def __init__(self, framing):
        self.format = format_of(framing)

    def feed(self, data):
        """The messages that ``data``, the next bytes of the stream, completes."""
        cdef Py_buffer view
        cdef Cursor cursor
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            cursor = Cursor(<const uint8_t *> view.buf, view.len, False, 0)
            return self.all_messages(self.format, &cursor)
        finally:
            PyBuffer_Release(&view)

    def eof(self):
        """The stream has ended. Raises FrameTruncated inside a frame."""
        self.check_end(self.format)
