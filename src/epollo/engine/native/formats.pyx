"""What a valid frame looks like, framing by framing.

Only that is repeated here. An invalid frame, and a message that cannot be encoded, go to
`epollo.framing`, which has all rules and all errors.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from epollo.framing import (
    Bcd,
    Ber,
    Delimiter,
    Digits,
    DigitsUntil,
    Enclosed,
    Fixed,
    Headers,
    LengthField,
    LengthPrefix,
    Line,
    Netstring,
    Raw,
    Varint,
)

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t hay, const void *needle, size_t length)

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *one, const char *other, size_t length)


cdef Py_ssize_t WORD = sizeof(uint64_t)
cdef uint64_t ALL = ~(<uint64_t> 0)  # bits


cdef class FrameFormat:
    """One framing's; shared by any number of connections."""

    def __init__(self, framing):
        self.framing = framing
        self.max_frame = min(framing.max_frame, INT64_MAX)
        self.plain = -1
        self.asks = False
        self.last.mask = 0
        self.last.message = -1
        self._end_with(b"")

    cdef int _end_with(self, bytes trailer) except -1:
        self.trailer = trailer
        self.trailer_data = self.trailer
        return 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        """The span of the frame that begins at ``data``; ``seen`` bytes were looked at before."""
        return BAD

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        """Write the header of a message, and set the sizes of header and trailer; false if only
        the framing itself can encode it."""
        return False


cdef class LengthFormat(FrameFormat):
    """Netty's LengthFieldBasedFrameDecoder: see `epollo.framing.length`.

    A length is good between two bounds, which are worked out here once.
    """

    def __init__(self, framing):
        super().__init__(framing)
        self.offset = framing.offset
        self.size = framing.size
        self.end = framing.offset + framing.size
        self.strip = framing.strip
        self.adjust = framing.adjust
        self.little = framing.order == "little"
        self.before = framing.offset == 0 and framing.strip == self.end
        self.extra = framing.adjust + self.end
        cdef object held = (1 << 8 * framing.size) - 1
        cdef object least = max(0, -framing.adjust, framing.strip - self.extra)
        cdef object longest = INT64_MAX - max(0, self.extra)
        cdef object most = min(held, longest, framing.max_frame - self.extra)
        if most < least:  # no length is valid
            least, most = 1, 0
        self.least, self.most = least, most
        if self.before and self.size == 4 and not self.little and not self.adjust:
            self.plain = -1 if most < least else most

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        if count < self.end:
            return HEADER
        cdef uint64_t length = _length(data + self.offset, self.size, self.little)
        if length < self.least or length > self.most:
            return BAD
        span.start = self.strip
        span.stop = span.size = <Py_ssize_t> (<int64_t> length + self.extra)
        return WHOLE if count >= span.size else PART

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        cdef int64_t length = size - self.adjust
        if not self.before:
            return not self.strip and is_whole(self, data, size, sizes)
        if length < 0:
            return False
        if not self.least <= <uint64_t> length <= self.most:
            return False
        _put_length(header, self.size, self.little, <uint64_t> length)
        sizes.header = self.size
        sizes.trailer = 0
        return True


cdef class AnnouncedFormat(FrameFormat):
    """A length in some notation: see `epollo.framing.announced`. A notation is a subclass."""

    def __init__(self, framing):
        super().__init__(framing)
        self.offset = framing.offset
        self.told = 0 if isinstance(framing, Ber) else framing.offset
        self.adjust = framing.adjust
        self.whole = framing.in_place
        # Larger ones are invalid, or so large that sizes could overflow; adjust has 32 bits.
        self.most_value = min(framing.max_frame + (1 << 31), (1 << 63) - (1 << 34))
        self._end_with(framing.trailer)
        assert len(self.trailer) <= 1
        self.ending = self.trailer_data[0]

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        """Read the length at ``data``: WHOLE if it is there, else HEADER or BAD."""
        return BAD

    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept:
        """Write ``length``; returns its width, 0 if it has no form."""
        return 0

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Number number
        cdef Found found
        if count <= self.offset:
            return HEADER
        found = self.read(data + self.offset, count - self.offset, &number)
        if found != WHOLE:
            return found
        cdef int64_t end = self.offset + number.width
        if number.value > self.most_value:
            return BAD
        cdef int64_t stop = end + <int64_t> number.value + self.adjust
        cdef Py_ssize_t trailer = len(self.trailer)
        if stop < end or stop > self.max_frame - trailer:
            return BAD
        span.start = 0 if self.whole else end
        span.stop = stop
        span.size = stop + trailer
        if not trailer and end <= WORD <= count:
            self.last.begin = u64_of(data)
            self.last.mask = ALL >> 8 * self.told & ALL << 8 * (WORD - end)
            self.last.span = span[0]
        if count < span.size:
            return PART
        return BAD if trailer and data[stop] != self.ending else WHOLE

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        if self.whole:
            return is_whole(self, data, size, sizes)
        cdef int64_t length = size - self.adjust
        sizes.trailer = len(self.trailer)
        sizes.header = 0 if length < 0 else self.write(<uint64_t> length, header)
        if not sizes.header or size > self.max_frame - sizes.header - sizes.trailer:
            return False
        if sizes.header <= WORD:
            self.last.header = u64_of(header)  # what is behind the header does not matter
            self.last.sizes = sizes[0]
            self.last.message = size
        return True


cdef bint is_whole(
    FrameFormat format, Octets data, Py_ssize_t size, Envelope *sizes
) noexcept:
    """Is the message a frame as it is? Not known, and so false, if there is no ``data``."""
    cdef Span span
    sizes.header = sizes.trailer = 0
    if data is NULL or not size:
        return False
    return find_alike(format, data, size, &span) == WHOLE and span.size == size


cdef class DigitsFormat(AnnouncedFormat):
    """A fixed number of digits: see `epollo.framing.digits`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.size = framing.size

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        cdef Py_ssize_t i
        number.value = 0
        number.width = self.size
        for i in range(min(count, self.size)):
            if not c"0" <= data[i] <= c"9":
                return BAD
            number.value = 10 * number.value + data[i] - c"0"
        return WHOLE if count >= self.size else HEADER

    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept:
        cdef Py_ssize_t i
        for i in range(self.size - 1, -1, -1):
            place[i] = <uint8_t> (c"0" + length % 10)
            length //= 10
        return 0 if length else self.size


cdef class DigitsUntilFormat(AnnouncedFormat):
    """Digits until a certain byte, as in a netstring: see `epollo.framing.digits`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.most_digits = min(framing.max_digits, 18)
        self.stop = framing.end[0]

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        cdef Py_ssize_t digits = 0
        number.value = 0
        while digits < count and c"0" <= data[digits] <= c"9":
            if digits == self.most_digits or (digits and not number.value):
                return BAD
            number.value = 10 * number.value + data[digits] - c"0"
            digits += 1
        if digits == count:
            return HEADER
        number.width = digits + 1
        return WHOLE if digits and data[digits] == self.stop else BAD

    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept:
        cdef uint64_t rest = length
        cdef Py_ssize_t count = 1, i
        while rest > 9:
            rest //= 10
            count += 1
        for i in range(count - 1, -1, -1):
            place[i] = <uint8_t> (c"0" + length % 10)
            length //= 10
        place[count] = self.stop
        return count + 1


cdef class BcdFormat(AnnouncedFormat):
    """Two digits a byte: see `epollo.framing.bcd`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.size = framing.size

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        cdef Py_ssize_t i
        number.value = 0
        number.width = self.size
        for i in range(min(count, self.size)):
            if data[i] > 0x99 or data[i] & 15 > 9:
                return BAD
            number.value = 100 * number.value + 10 * (data[i] >> 4) + (data[i] & 15)
        return WHOLE if count >= self.size else HEADER

    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept:
        cdef Py_ssize_t i
        for i in range(self.size - 1, -1, -1):
            place[i] = <uint8_t> (length // 10 % 10 << 4 | length % 10)
            length //= 100
        return 0 if length else self.size


cdef class VarintFormat(AnnouncedFormat):
    """protobuf's base-128 length: see `epollo.framing.varint`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.most_width = framing.most_width

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        cdef Py_ssize_t i
        number.value = 0
        for i in range(min(count, self.most_width)):
            if i == 9 and data[i]:  # the 64th bit, or an eleventh byte: an invalid length
                return BAD
            number.value |= <uint64_t> (data[i] & 0x7F) << 7 * i
            if data[i] < 0x80:
                number.width = i + 1
                return WHOLE
        return HEADER if count < self.most_width else BAD

    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept:
        cdef Py_ssize_t i = 0
        while length > 0x7F:
            place[i] = <uint8_t> (length & 0x7F | 0x80)
            length >>= 7
            i += 1
        place[i] = <uint8_t> length
        return 0 if i >= self.most_width else i + 1


cdef class BerFormat(AnnouncedFormat):
    """Tag and length: see `epollo.framing.ber`. A tag of several bytes is left to that."""

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept:
        cdef Py_ssize_t i
        if (data - 1)[0] & 0x1F == 0x1F:
            return BAD
        number.value = data[0]
        number.width = 1
        if data[0] < 0x80:
            return WHOLE
        number.width += data[0] & 0x7F
        if not 1 < number.width <= 9:
            return BAD
        if count < number.width:
            return HEADER
        number.value = 0
        for i in range(1, number.width):
            number.value = number.value << 8 | data[i]
        return WHOLE


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

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
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
        sizes.header = self.start_size
        sizes.trailer = len(self.trailer)
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
            if found is NULL or not memcmp(found, self.end_data, self.end_size):
                return found
            data = found + 1
        return NULL


cdef class HeadersFormat(FrameFormat):
    """Lines, one of which says the length of the body: see `epollo.framing.headers`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.most = framing.most_headers
        self.alias = framing.alias
        self.alias_data, self.alias_size = self.alias, len(self.alias)

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Found found = WHOLE
        cdef Py_ssize_t size = self.block_size
        if size and not seen and count >= size and not memcmp(data, self.block, size):
            span[0] = self.last.span
            return WHOLE if count >= span.size else PART
        if seen:  # each byte is searched once; lines are read when all are there
            found = self._ended(data, count, seen)
        return self._parse(data, count, span) if found == WHOLE else found

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
        cdef int64_t length = -1
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
        if length > self.max_frame - size:
            return BAD
        span.start = 0
        span.stop = span.size = size + max(length, 0)
        if size <= REMEMBERED:
            memcpy(self.block, data, size)
            self.block_size = size
            self.last.span = span[0]
        return WHOLE if count >= span.size else PART

    cdef Found _of_length(self, Octets line, Py_ssize_t size, int64_t *length) noexcept:
        """Take the length from a line that tells it. BAD, too, for one that others may misread."""
        cdef const char *text = <const char *> line
        cdef Py_ssize_t name = 14
        if not size:
            return WHOLE
        cdef uint8_t first = line[0] | 0x20
        if line[0] <= 0x20 or line[0] == 0x7F:
            return BAD
        if first == c"t" and size >= 17 and not strncasecmp(text, b"transfer-encoding", 17):
            return BAD
        if first != c"c" or size < 14 or strncasecmp(text, b"content-length", 14):
            name = self.alias_size
            if not name or size < name or strncasecmp(text, self.alias_data, name):
                return WHOLE
        if size > name and line[name] != c":":
            # Another name that begins alike; unless invisible characters make it the same.
            return BAD if line[name] <= 0x20 or line[name] == 0x7F else WHOLE
        if length[0] >= 0 or size == name:
            return BAD
        length[0] = _decimal(line + name + 1, size - name - 1)
        return BAD if length[0] < 0 else WHOLE

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        return is_whole(self, data, size, sizes)


cdef class FixedFormat(FrameFormat):
    """A fixed number of bytes: see `epollo.framing.fixed`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.size = framing.size

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        span.start = 0
        span.stop = span.size = self.size
        return WHOLE if count >= self.size else PART

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = sizes.trailer = 0
        return size == self.size


cdef class RawFormat(FrameFormat):
    """The bytes of one read: see `epollo.framing.raw`."""

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        span.start = 0
        span.stop = span.size = count
        return WHOLE if count else HEADER

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = sizes.trailer = 0
        return True


# By the exact class: a subclass may have changed the format.
cdef dict _FORMATS = {
    LengthPrefix: LengthFormat,
    LengthField: LengthFormat,
    Digits: DigitsFormat,
    DigitsUntil: DigitsUntilFormat,
    Netstring: DigitsUntilFormat,
    Bcd: BcdFormat,
    Varint: VarintFormat,
    Ber: BerFormat,
    Delimiter: DelimiterFormat,
    Enclosed: DelimiterFormat,
    Line: DelimiterFormat,
    Headers: HeadersFormat,
    Fixed: FixedFormat,
    Raw: RawFormat,
}

cdef dict _FORMATS_OF_SUBCLASSES = {}


cdef FrameFormat format_of(object framing):
    """The format of ``framing``. For a user's own framing, every frame is BAD."""
    for base, format in _FORMATS_OF_SUBCLASSES.items():
        if isinstance(getattr(framing, "sized", framing), base):
            return format(framing)
    return _FORMATS.get(type(framing), FrameFormat)(framing)


def add_format(base, format):
    """Frames of all subclasses of ``base`` are found by ``format``."""
    _FORMATS_OF_SUBCLASSES[base] = format


cdef inline int64_t _decimal(Octets text, Py_ssize_t size) noexcept:
    """The number in ``text``, which may have blanks around it; -1 if it is not plainly one."""
    cdef int64_t number = 0
    cdef Py_ssize_t digits = 0
    while size and (text[0] == c" " or text[0] == c"\t"):
        text += 1
        size -= 1
    while size and (text[size - 1] == c" " or text[size - 1] == c"\t"):
        size -= 1
    if not 0 < size <= 18 or (text[0] == c"0" and size > 1):
        return -1
    for digits in range(size):
        if not c"0" <= text[digits] <= c"9":
            return -1
        number = 10 * number + text[digits] - c"0"
    return number


cdef inline uint64_t _length(Octets data, Py_ssize_t size, bint little) noexcept:
    cdef uint64_t length = 0
    cdef Py_ssize_t i
    if size == 4 and not little:
        return u32_of(data)
    for i in range(size):
        length = length << 8 | data[size - 1 - i if little else i]
    return length


cdef inline void _put_length(
    uint8_t *header, Py_ssize_t size, bint little, uint64_t length
) noexcept:
    cdef Py_ssize_t i
    if size == 4 and not little:
        put_u32(header, <uint32_t> length)
        return
    for i in range(size):
        header[i if little else size - 1 - i] = <uint8_t> (length & 0xFF)
        length >>= 8
