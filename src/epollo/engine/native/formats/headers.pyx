"""Lines, one of which says the length of the body: see `epollo.framing.headers`."""

from cython cimport final
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy

from epollo.engine.native.formats.base cimport (
    BAD,
    HEADER,
    PART,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
    is_whole,
)
from epollo.engine.native.formats.words cimport WORD, Octets, word_of

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t hay, const void *needle, size_t length)

cdef enum:
    MOST_DIGITS = 18  # of a length


@final
cdef class HeadersFormat(FrameFormat):
    """Lines, one of which says the length of the body: see `epollo.framing.headers`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.most = framing.most_headers
        self.alias = framing.alias
        self.alias_data, self.alias_size = self.alias, len(self.alias)
        self.block.size = 0
        self.again.least = 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        if not seen and self.block.size and is_block(&self.block, data, count):
            span[0] = self.block.span
            return WHOLE if count >= span.size else PART
        return self._find(data, count, seen, span)

    cdef Found _find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        """The same for other headers."""
        cdef Found found = WHOLE
        if not seen and self.block.number and self._of_number(data, count, span):
            return WHOLE if count >= span.size else PART
        if seen:  # each byte is searched once; lines are read when all are there
            found = self._ended(data, count, seen)
        return self._parse(data, count, span) if found == WHOLE else found

    cdef bint _of_number(self, Octets data, Py_ssize_t count, Span *span) noexcept:
        """Are its headers the remembered ones, with another number as the length? Then they are
        valid, too, if the number is."""
        cdef Block *block = &self.block
        cdef Py_ssize_t at = block.number, behind = block.size - block.after, digits = 0, size
        cdef int64_t value = 0
        if count < at + 1 or memcmp(data, block.data, at):
            return False
        while at + digits < count and c"0" <= data[at + digits] <= c"9":
            if digits == MOST_DIGITS or (digits and not value):
                return False
            value = 10 * value + data[at + digits] - c"0"
            digits += 1
        size = at + digits + behind
        if not digits or not WORD <= size <= min(count, self.most, BLOCK):
            return False
        if memcmp(data + at + digits, block.data + block.after, behind):
            return False
        if value > self.max_frame - size:
            return False
        memcpy(block.data + at, data + at, digits + behind)
        block.size, block.after = size, at + digits
        span.start = 0
        span.stop = span.size = size + value
        block.span = span[0]
        return True

    cdef Found _ended(self, Octets data, Py_ssize_t count, Py_ssize_t seen) noexcept:
        """WHOLE: the empty line is there, or a fault is."""
        cdef Octets at = data + max(0, seen - 3)
        cdef Py_ssize_t left = count - (at - data)
        if memmem(at, left, b"\r\n\r\n", 4) is not NULL or count > self.most:
            return WHOLE
        at = data + seen - 1
        cdef Octets stop = data + count
        while at < stop:  # line ends are CR LF, except that the last byte may be a CR
            if at[0] == c"\r" and at + 1 < stop and at[1] != c"\n":
                return BAD
            if at[0] == c"\n" and (at == data or (at - 1)[0] != c"\r"):
                return BAD
            at += 1
        return HEADER

    cdef Found _parse(self, Octets data, Py_ssize_t count, Span *span) noexcept:
        cdef Octets line = data, stop = data + min(count, self.most), end
        cdef Py_ssize_t size
        cdef Length length
        length = Length(-1, data, data)
        while True:
            end = <Octets> memchr(line, c"\n", stop - line)
            size = (stop if end is NULL else end) - line
            if end is NULL:
                end = <Octets> memchr(line, c"\r", size)
                # The last byte may be the CR of the next line's end.
                return BAD if count > self.most or (end is not NULL and end + 1 != stop) else HEADER
            if not size or memchr(line, c"\r", size) != <void *> (end - 1):
                return BAD
            if size == 1 and line != data:
                break
            if self._of_length(line, size - 1, &length) == BAD:
                return BAD
            line = end + 1
        size = end + 1 - data
        if length.value > self.max_frame - size:
            return BAD
        span.start = 0
        span.stop = span.size = size + max(length.value, 0)
        if WORD <= size <= BLOCK:
            self._remember(data, size, span, &length)
        return WHOLE if count >= span.size else PART

    cdef int _remember(self, Octets data, Py_ssize_t size, Span *span, Length *length) noexcept:
        """That these headers, of ``size`` bytes, are valid."""
        memcpy(self.block.data, data, size)
        self.block.size = size
        self.block.span = span[0]
        self.block.number = self.block.after = 0
        if length.value >= 0:
            self.block.number, self.block.after = length.begin - data, length.end - data
        return 0

    cdef Found _of_length(self, Octets line, Py_ssize_t size, Length *length) noexcept:
        """Take the length from a line that tells it. BAD, too, for one that others may misread."""
        cdef Py_ssize_t name = 14
        if not size:
            return WHOLE
        cdef uint8_t first = line[0] | 0x20
        if line[0] <= 0x20 or line[0] == 0x7F:
            return BAD
        if first == c"t" and size >= 17 and is_name(line, b"transfer-encoding", 17):
            return BAD
        if first != c"c" or size < 14 or not is_name(line, b"content-length", 14):
            name = self.alias_size
            if not name or size < name or not is_name(line, self.alias_data, name):
                return WHOLE
        if size > name and line[name] != c":":
            # Another name that begins alike; unless invisible characters make it the same.
            return BAD if line[name] <= 0x20 or line[name] == 0x7F else WHOLE
        if length.value >= 0 or size == name:
            return BAD
        _read_decimal(line + name + 1, size - name - 1, length)
        return BAD if length.value < 0 else WHOLE

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        return is_whole(self, data, size, sizes)


cdef inline bint is_name(Octets text, Octets name, Py_ssize_t size) noexcept:
    """Does ``text`` begin with ``name``, which is in lower case, in any case of ASCII? To
    strncasecmp(3), I and i are different letters in a Turkish locale."""
    cdef Py_ssize_t i
    cdef uint8_t byte
    for i in range(size):
        byte = text[i]
        if c"A" <= byte <= c"Z":
            byte |= 0x20
        if byte != name[i]:
            return False
    return True


cdef inline int _read_decimal(Octets text, Py_ssize_t size, Length *length) noexcept:
    """The number in ``text``, which may have blanks around it; -1 if it is not plainly one."""
    cdef int64_t number = 0
    cdef Py_ssize_t digits = 0
    while size and (text[0] == c" " or text[0] == c"\t"):
        text += 1
        size -= 1
    while size and (text[size - 1] == c" " or text[size - 1] == c"\t"):
        size -= 1
    if not 0 < size <= MOST_DIGITS or (text[0] == c"0" and size > 1):
        return 0
    for digits in range(size):
        if not c"0" <= text[digits] <= c"9":
            return 0
        number = 10 * number + text[digits] - c"0"
    length.value, length.begin, length.end = number, text, text + size
    return 0


cdef inline bint is_block(Block *block, Octets data, Py_ssize_t count) noexcept:
    """Does the frame begin with the remembered block of headers, which has at least a word?"""
    cdef Py_ssize_t size = block.size, i = 0
    if count < size:
        return False
    if size > 4 * WORD:
        return not memcmp(data, block.data, size)
    while i < size - WORD:
        if word_of(data + i) != word_of(block.data + i):
            return False
        i += WORD
    return word_of(data + size - WORD) == word_of(block.data + size - WORD)
