"""Frames that end with a delimiter: `epollo.framing.delimiter` and `epollo.framing.enclosed`."""

from cython cimport final
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy, memset

from epollo.engine.native.formats.base cimport (
    BAD,
    HEADER,
    LONGEST_HEADER,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
)
from epollo.engine.native.formats.search cimport first_of_64, has
from epollo.engine.native.formats.words cimport WORD, Octets, put_word, word_of

from epollo.framing import Enclosed, Line

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    NEAR = 64  # bytes that are searched without a call


@final
cdef class DelimiterFormat(FrameFormat):
    """A message until its delimiter: see `epollo.framing.delimiter`; and after its start: see
    `epollo.framing.enclosed`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.line = isinstance(framing, Line)
        self.end = b"\n" if self.line else framing.delimiter
        self.end_data, self.end_size = self.end, len(self.end)
        self.start = framing.start if isinstance(framing, Enclosed) else b""
        self.start_data, self.start_size = self.start, len(self.start)
        self._end_with(framing.ending if self.line else self.end)
        self._seek()

    cdef int _seek(self) except -1:
        """Set all that `find` compares without a search."""
        cdef Py_ssize_t i
        if self.line and self.trailer_size == 1:
            self.again.last_byte = c"\r"  # it would be lost with the end of the line
        for i in range(16):
            self.first[i] = self.end_data[0]
        self.start_word = self.start_mask = self.end_word = self.end_mask = 0
        self.brief = max(self.start_size, self.end_size) <= WORD
        self.near = PY_SSIZE_T_MAX
        if self.brief:
            self.near = NEAR + 2 * WORD if self.max_frame >= NEAR else PY_SSIZE_T_MAX
            memcpy(&self.start_word, self.start_data, self.start_size)
            memset(&self.start_mask, 0xFF, self.start_size)
            memcpy(&self.end_word, self.end_data, self.end_size)
            memset(&self.end_mask, 0xFF, self.end_size)
            self.again.least = 0
            self.again.header = self.start_word
            self.again.sizes.header = self.start_size
        return 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Py_ssize_t start = self.start_size, stop
        if seen or count < self.near or (word_of(data) ^ self.start_word) & self.start_mask:
            return self._search(data, count, seen, span)
        stop = start + first_of_64(data + start, self.first)
        if stop == start + NEAR:
            return self._search(data, count, stop, span)
        if (word_of(data + stop) ^ self.end_word) & self.end_mask:
            return self._search(data, count, 0, span)
        span.start = start
        span.size = stop + self.end_size
        if self.line and stop and data[stop - 1] == c"\r":
            stop -= 1
        span.stop = stop
        return WHOLE

    cdef Found _search(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        """The same for what is not near."""
        cdef Py_ssize_t start = self.start_size
        cdef Octets found
        if start:
            if memcmp(data, self.start_data, min(count, start)):
                return BAD
            if count < start:
                return HEADER
        cdef Py_ssize_t begin = max(start, seen - self.end_size + 1)
        found = self._end_in(data + begin, count - begin)
        cdef Py_ssize_t stop = count if found is NULL else found - data
        span.start = start
        span.size = stop + self.end_size
        if found is NULL:
            stop -= self._partial_delimiter(data + start, count - start)
        elif self.line and stop and data[stop - 1] == c"\r":
            stop -= 1
        span.stop = stop
        if stop - start > self.max_frame:
            return BAD
        return HEADER if found is NULL else WHOLE

    cdef Py_ssize_t _partial_delimiter(self, Octets data, Py_ssize_t count) noexcept:
        """How many of the last bytes may be the first of the delimiter."""
        cdef Py_ssize_t most = min(count, self.end_size - 1)
        if self.line:
            return 1 if count and data[count - 1] == c"\r" else 0
        while most and memcmp(data + count - most, self.end_data, most):
            most -= 1
        return most

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        if (
            data is NULL or not size or size > self.max_frame or not self.brief
            or data[size - 1] == self.again.last_byte or has(data, size, self.first)
        ):
            return self._wrap(data, size, header, sizes)
        put_word(header, self.start_word)
        sizes.header = self.start_size
        sizes.trailer = self.trailer_size
        return True

    cdef bint _wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        """The same for a message with the first byte of the end in it."""
        sizes.header = self.start_size
        sizes.trailer = self.trailer_size
        if data is NULL:  # the message is not known yet, so neither is whether it can be sent
            return False
        if size > self.max_frame or sizes.header > LONGEST_HEADER:
            return False
        if self._partial_delimiter(data, size):
            return False
        memcpy(header, self.start_data, sizes.header)
        return self._end_in(data, size) is NULL

    cdef Octets _end_in(self, Octets data, Py_ssize_t count) noexcept:
        """The first delimiter in ``data``; NULL if there is none."""
        cdef Octets found, stop = data + count - self.end_size + 1
        while data < stop:  # faster than memmem(3), for all but odd delimiters
            found = <Octets> memchr(data, self.end_data[0], stop - data)
            if found is NULL or self.end_size == 1:
                return found
            if not memcmp(found, self.end_data, self.end_size):
                return found
            data = found + 1
        return NULL
