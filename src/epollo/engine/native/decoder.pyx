"""Decodes the messages of one stream, in place; it keeps a partial frame, and nothing else."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from epollo.engine.native.formats.base cimport (
    BAD,
    HEADER,
    LONGEST_HEADER,
    PART,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
    find_frame,
    wrap_message,
)
from epollo.engine.native.formats.choice cimport format_of
from epollo.engine.native.formats.sized cimport SizedFormat

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


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
        if self.received >= self.span.stop and not self._trailer(format, cursor):
            return None
        return self.message if self.received == self.span.size else None

    cdef bint _trailer(self, FrameFormat format, Cursor *cursor) noexcept:
        """Take the bytes of the trailer; false if some are missing, or wrong."""
        while self.received < self.span.size:
            if not cursor.count:
                return False
            if cursor.data[0] != format.trailer_data[self.received - self.span.stop]:
                cursor.needs_fallback = True
                return False
            self.received += 1
            skip(cursor, 1)
        return True

    cdef Py_ssize_t wanted(self, uint8_t **place) noexcept:
        """How many bytes of its message are still to come; and the place for them."""
        if self.message is None or self.received < self.span.start:
            return 0
        place[0] = <uint8_t *> PyBytes_AS_STRING(self.message) + self.received - self.span.start
        return self.span.stop - self.received

    cdef bytes so_far(self, FrameFormat format):
        """The bytes of the frame that have come."""
        if self.header is not None:
            return bytes(self.header)
        if self.message is None:
            return self.head[:self.held]
        cdef bytes begin = self.head[:min(self.held, self.span.start)]
        cdef bytes end = format.trailer[:max(0, self.received - self.span.stop)]
        return begin + self.message[:max(0, self.received - self.span.start)] + end

    cdef Py_ssize_t size(self):
        """How many bytes of the frame have come."""
        if self.fallback is not None:
            return self.fallback.partial_size
        if self.header is not None:
            return PyByteArray_GET_SIZE(self.header)
        return self.held if self.message is None else self.received

    cdef bint _find(self, FrameFormat format, Cursor *cursor) except -1:
        """Look for the frame's size, in a few bytes first, which are likely to contain it."""
        cdef Py_ssize_t step
        cdef Found found
        if format.asks:
            return self._ask(<SizedFormat> format, cursor)
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

    cdef bint _ask(self, SizedFormat format, Cursor *cursor) except -1:
        """The same, but Python code says the size; it may do anything meanwhile."""
        cdef Py_ssize_t before, step, size
        cdef object header = self.header
        if header is None:
            header = self.header = format.new_header()
        if format.interrupted():
            cursor.needs_fallback = True
            return False
        while cursor.count:
            before = PyByteArray_GET_SIZE(header)
            step = min(min(cursor.count, max(STEP, before)), format.max_frame - before)
            if step <= 0 or not _extend(header, cursor.data, step):
                cursor.needs_fallback = True  # which also knows what is over the limit
                return False
            skip(cursor, step)
            size = format.told(header)
            if PyByteArray_GET_SIZE(header) != before + step:  # that code has changed it
                size = -1
            if size:
                return self._took_size(format, size, before, cursor)
        return False

    cdef bint _took_size(
        self, SizedFormat format, Py_ssize_t size, Py_ssize_t before, Cursor *cursor
    ) except -1:
        """The ``size`` of the frame is known, and ``before`` bytes of it came earlier."""
        if size < 0 or size < before or size > MOST_AT_ONCE:
            cursor.needs_fallback = True
            return False
        self.span.start, self.span.size = format.strip, size
        self.span.stop = size - len(format.trailer)
        cdef object header = self.header
        cdef Py_ssize_t held = PyByteArray_GET_SIZE(header)
        cdef const uint8_t *data = <const uint8_t *> PyByteArray_AS_STRING(header)
        cdef Py_ssize_t ended = min(held, size) - self.span.stop  # bytes of its trailer
        if ended > 0 and memcmp(data + self.span.stop, format.trailer_data, ended):
            cursor.needs_fallback = True
            return False
        if held > size and format.recall(data, size) != size:
            format.told_by(held)
        self._hold(data, held)
        self.header = None
        self._begin(cursor)
        return True

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


cdef bint _extend(object header, const uint8_t *data, Py_ssize_t count) except -1:
    """Put ``count`` bytes behind the header; false if a view of it forbids that."""
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(header)
    try:
        PyByteArray_Resize(header, before + count)
    except BufferError:
        return False
    memcpy(PyByteArray_AS_STRING(header) + before, data, count)
    return True


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
        cdef Partial partial = self.partial  # Python code may end the connection meanwhile
        cdef bytes message = partial.complete(format, cursor)
        if message is not None:
            self.partial = None
        return message

    cdef bint keep(self, Found found, FrameFormat format, Cursor *cursor) except -1:
        """``cursor`` begins with no whole frame: keep its bytes; true if it needs the fallback."""
        if found == BAD:
            cursor.needs_fallback = True
            return True
        if format.asks:
            skip(cursor, (<SizedFormat> format).skip_filler(cursor.data, cursor.count))
            if not cursor.count:
                return False
        self.partial = Partial()
        self.complete(format, cursor)
        return cursor.needs_fallback

    cdef list all_messages(self, FrameFormat format, Cursor *cursor):
        """All messages of ``cursor``. An error has those before the bad frame: FrameError, or what
        the code of a user's framing raises."""
        cdef list messages = []
        cdef bytes message = self.next_message(format, cursor)
        while message is not None:
            messages.append(message)
            message = self.next_message(format, cursor)
        if cursor.needs_fallback:
            try:
                messages += self.decode_by_fallback(format, cursor)
            except BaseException as error:
                error.messages = messages + getattr(error, "messages", [])
                raise
        return messages

    cdef list decode_by_fallback(self, FrameFormat format, Cursor *cursor):
        """The remaining bytes, and all later ones, go to the framing's own decoder. It raises
        FrameError; or it returns messages, of a user's own framing or a huge frame."""
        cdef bytes held = cursor.data[:cursor.count]
        cursor.count = 0
        if format.asks and (<SizedFormat> format).raised is not None:
            error, (<SizedFormat> format).raised = (<SizedFormat> format).raised, None
            raise error
        if self.partial is None or self.partial.fallback is None:
            if self.partial is not None:
                held = self.partial.so_far(format) + held
            self.partial = Partial()
            self.partial.fallback = format.framing.decoder()
        try:
            messages = list(self.partial.fallback.feed(held))
        except BaseException as error:
            _decoded_elsewhere(format, getattr(error, "messages", ()))
            raise
        _decoded_elsewhere(format, messages)
        return messages

    cdef int keep_raw(self, FrameFormat format) except -1:
        """Another format follows: keep only the bytes of the partial frame, as they came."""
        cdef bytes held = self.partial.so_far(format)
        self.partial = Partial()
        self.partial._hold(<const uint8_t *> PyBytes_AS_STRING(held), len(held))
        return 0

    cdef int check_end(self, FrameFormat format) except -1:
        """The stream has ended. Raises FrameTruncated inside a frame."""
        if self.partial is None and type(format) is not FrameFormat:
            return 0
        fallback = None if self.partial is None else self.partial.fallback
        if fallback is None:  # a user's own decoder is told of the end of an empty stream, too
            fallback = format.framing.decoder()
            if self.partial is not None:
                fallback.feed(self.partial.so_far(format))
        fallback.eof()
        return 0


cdef int _decoded_elsewhere(FrameFormat format, object messages) except -1:
    """With how many bytes the sizes of these ``messages`` were told is not known."""
    if messages and format.asks:
        (<SizedFormat> format).told_by(PY_SSIZE_T_MAX)
    return 0


cdef class Decoder(StreamDecoder):
    """The messages of one stream, as `epollo.framing.Decoder` has them; to be compared with it."""

    def __init__(self, framing):
        self.format = format_of(framing)

    def another(self):
        """A decoder of another stream. It shares what was learned, as connections do."""
        cdef Decoder other = Decoder.__new__(Decoder)
        other.format = self.format
        return other

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

    def encode(self, bytes message not None):
        """The frame that carries ``message``, as a connection sends it. Raises EncodeError."""
        cdef uint8_t header[LONGEST_HEADER]
        cdef Envelope sizes
        if wrap_message(
            self.format, <const uint8_t *> PyBytes_AS_STRING(message), len(message), False,
            header, &sizes,
        ):
            return header[:sizes.header] + message + self.format.trailer[:sizes.trailer]
        return self.format.framing.encode(message)

    def eof(self):
        """The stream has ended. Raises FrameTruncated inside a frame."""
        self.check_end(self.format)
