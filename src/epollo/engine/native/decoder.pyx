"""Cutting the messages out of one stream, in place; a partial frame is kept, and nothing else."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from epollo.engine.native.formats cimport BAD, HEADER, PART, WHOLE, Found, Rule, Span, rule_of

from epollo.errors import FrameError

cdef enum:
    STEP = 64  # bytes looked at first for a frame's header, or its delimiter
    MOST_AT_ONCE = 256 << 20  # bytes; what is announced beyond is given room only as it comes


cdef Py_ssize_t _live = 0


def live():
    """How many partial frames there are, in all streams: for tests that look for leaks."""
    return _live


cdef class Partial:
    """A frame of which a part has come; or a stream that the framing's own decoder goes on with.

    While its size is unknown, the bytes are held as they came. Then its message is made at its
    full size, once, and filled as the bytes come, where it is long by readv(2) itself.
    """

    def __cinit__(self):
        global _live
        _live += 1

    def __dealloc__(self):
        global _live
        _live -= 1
        PyMem_Free(self.head)

    cdef bytes complete(self, Rule rule, Stretch *rest):
        """Take what belongs to the frame from ``rest``; the message, where that completes it."""
        if self.judge is not None:
            rest.strange = True
            return None
        if self.message is None and not self._find(rule, rest):
            return None
        cdef Py_ssize_t count = min(self.span.stop - self.filled, rest.count)
        if count > 0:
            self._fill(rest.data, count)
            skip(rest, count)
        if self.filled >= self.span.stop and self.filled < self.span.size:  # but for the trailer
            if not rest.count:
                return None
            if rest.data[0] != rule.trailer_data[0]:
                rest.strange = True
                return None
            self.filled += 1
            skip(rest, 1)
        return self.message if self.filled == self.span.size else None

    cdef Py_ssize_t wanted(self, uint8_t **place) noexcept:
        """How many bytes of its message are still to come, and where they are to be put."""
        if self.message is None or self.filled < self.span.start:
            return 0
        place[0] = <uint8_t *> PyBytes_AS_STRING(self.message) + self.filled - self.span.start
        return self.span.stop - self.filled

    cdef bytes so_far(self):
        """The bytes of the frame that have come."""
        if self.message is None:
            return self.head[:self.held]
        cdef bytes begin = self.head[:min(self.held, self.span.start)]
        return begin + self.message[:max(0, self.filled - self.span.start)]

    cdef bint _find(self, Rule rule, Stretch *rest) except -1:
        """Look for the frame's size, in few bytes first, since it is likely to stand in them."""
        cdef Py_ssize_t step
        cdef Found found
        while rest.count:
            step = min(rest.count, max(STEP, self.held))
            self._hold(rest.data, step)
            skip(rest, step)
            found = rule.find(self.head, self.held, self.seen, &self.span)
            if found == BAD or (found == PART and self.span.size > MOST_AT_ONCE):
                rest.strange = True
                return False
            if found != HEADER:
                self._begin(rest)
                return True
            self.seen = self.held
        return False

    cdef int _begin(self, Stretch *rest) except -1:
        """The size is known: give back what is of the next frame, and make the message."""
        cdef Py_ssize_t extra = max(0, self.held - self.span.size)
        skip(rest, -extra)
        self.held -= extra
        cdef Py_ssize_t start = self.span.start, size = self.span.stop - self.span.start
        self.message = PyBytes_FromStringAndSize(NULL, size)
        self.filled = self.held
        if self.held > start:
            memcpy(PyBytes_AS_STRING(self.message), self.head + start, min(self.held - start, size))
        return 0

    cdef int _fill(self, const uint8_t *data, Py_ssize_t count) except -1:
        """More of the frame, at most to the end of its message."""
        cdef char *place
        cdef Py_ssize_t before = min(count, max(0, self.span.start - self.filled))
        if before:
            self._hold(data, before)
            self.filled += before
        if count > before:
            place = PyBytes_AS_STRING(self.message) + self.filled - self.span.start
            memcpy(place, data + before, count - before)
            self.filled += count - before
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


cdef class Cutter:
    """What of one stream is not yet a message: nothing, or a part of a frame."""

    cdef bytes next_message(self, Rule rule, Stretch *rest):
        """The next message, taken from ``rest``. None where the rest, which is then kept, holds no
        whole one; or where it is strange."""
        cdef bytes message
        cdef Span span
        cdef Found found
        if self.partial is not None:
            return self.complete(rule, rest)
        if not rest.count:
            return None
        found = rule.find(rest.data, rest.count, 0, &span)
        if found != WHOLE:
            self.keep(found, rule, rest)
            return None
        message = PyBytes_FromStringAndSize(
            <const char *> rest.data + span.start, span.stop - span.start
        )
        skip(rest, span.size)
        return message

    cdef bytes complete(self, Rule rule, Stretch *rest):
        """The message of the frame that was begun; None where that is as ever, or strange."""
        cdef bytes message = self.partial.complete(rule, rest)
        if message is not None:
            self.partial = None
        return message

    cdef bint keep(self, Found found, Rule rule, Stretch *rest) except -1:
        """``rest`` begins with no whole frame: keep it, but where it is strange, which is told."""
        if found == BAD:
            rest.strange = True
        else:
            self.partial = Partial()
            self.partial.complete(rule, rest)
        return rest.strange

    cdef list all_messages(self, Rule rule, Stretch *rest):
        """All messages of ``rest``. Raises FrameError, with those before the bad frame."""
        cdef list messages = []
        cdef bytes message = self.next_message(rule, rest)
        while message is not None:
            messages.append(message)
            message = self.next_message(rule, rest)
        if rest.strange:
            try:
                messages += self.judge(rule, rest)
            except FrameError as error:
                error.messages = messages + error.messages
                raise
        return messages

    cdef list judge(self, Rule rule, Stretch *rest):
        """What the framing's own decoder makes of a strange rest, and of all that comes after it:
        a FrameError; or messages, where the framing has no rule here, or the frame is huge."""
        cdef bytes strange = rest.data[:rest.count]
        rest.count = 0
        if self.partial is None or self.partial.judge is None:
            if self.partial is not None:
                strange = self.partial.so_far() + strange
            self.partial = Partial()
            self.partial.judge = rule.framing.decoder()
        return self.partial.judge.feed(strange)

    cdef int check_end(self, Rule rule) except -1:
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        if self.partial is None:
            return 0
        judge = self.partial.judge
        if judge is None:
            judge = rule.framing.decoder()
            judge.feed(self.partial.so_far())
        judge.eof()
        return 0


cdef class Decoder(Cutter):
    """The messages of one stream, as `epollo.framing.Decoder` has them; to be compared with it."""

    def __init__(self, framing):
        self.rule = rule_of(framing)

    def feed(self, data):
        """The messages that ``data``, the next bytes of the stream, completes."""
        cdef Py_buffer view
        cdef Stretch rest
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            rest = Stretch(<const uint8_t *> view.buf, view.len, False)
            return self.all_messages(self.rule, &rest)
        finally:
            PyBuffer_Release(&view)

    def eof(self):
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        self.check_end(self.rule)
