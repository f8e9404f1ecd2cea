"""What a valid frame looks like, framing by framing.

Only that is repeated here. An invalid frame, and a message that cannot be encoded, go to
`epollo.framing`, which has all rules and all errors.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from epollo.framing import Delimiter, Fixed, LengthField, LengthPrefix, Line, Netstring, Raw, Varint

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t hay, const void *needle, size_t length)


cdef class FrameFormat:
    """One framing's; shared by any number of connections."""

    def __init__(self, framing):
        self.framing = framing
        self.max_frame = min(framing.max_frame, INT64_MAX)
        self.plain = -1
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
        if not self.before or length < 0:
            return False
        if not self.least <= <uint64_t> length <= self.most:
            return False
        _put_length(header, self.size, self.little, <uint64_t> length)
        sizes.header = self.size
        sizes.trailer = 0
        return True


cdef class VarintFormat(FrameFormat):
    """protobuf's base-128 length: see `epollo.framing.varint`."""

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef uint64_t length = 0
        cdef Py_ssize_t i
        for i in range(min(count, 9)):  # a tenth byte would have the 64th bit: an invalid length
            length |= <uint64_t> (data[i] & 0x7F) << 7 * i
            if data[i] < 0x80:
                return self._measured(i + 1, <Py_ssize_t> length, count, span)
        if count < 10:
            return HEADER
        # Ten bytes can still say a small number, with zeros before it.
        return BAD if data[9] else self._measured(10, <Py_ssize_t> length, count, span)

    cdef Found _measured(
        self, Py_ssize_t header, Py_ssize_t length, Py_ssize_t count, Span *span
    ) noexcept:
        if length > self.max_frame - header:
            return BAD
        span.start = header
        span.stop = span.size = header + length
        return WHOLE if count >= span.size else PART

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        cdef uint64_t extra = size
        cdef Py_ssize_t i = 0
        while extra > 0x7F:
            header[i] = <uint8_t> (extra & 0x7F | 0x80)
            extra >>= 7
            i += 1
        header[i] = <uint8_t> extra
        sizes.header = i + 1
        sizes.trailer = 0
        return size <= self.max_frame - sizes.header


cdef class NetstringFormat(FrameFormat):
    """D. J. Bernstein's netstrings: see `epollo.framing.netstring`."""

    def __init__(self, framing):
        super().__init__(framing)
        self._end_with(b",")
        self.most_digits = min(len(str(framing.max_frame)), 18)

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Py_ssize_t length = 0, digits = 0
        while digits < count and c"0" <= data[digits] <= c"9":
            if digits == self.most_digits or (digits and not length):
                return BAD
            length = 10 * length + data[digits] - c"0"
            digits += 1
        if digits == count:
            return HEADER
        span.start = digits + 1
        if data[digits] != c":" or not digits or length > self.max_frame - span.start - 1:
            return BAD
        span.stop = span.start + length
        span.size = span.stop + 1
        if count < span.size:
            return PART
        return WHOLE if data[span.stop] == c"," else BAD

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        cdef uint8_t digits[20]
        cdef Py_ssize_t count = 0, extra = size, i
        while True:
            digits[count] = <uint8_t> (c"0" + extra % 10)
            count += 1
            extra //= 10
            if not extra:
                break
        for i in range(count):
            header[i] = digits[count - 1 - i]
        header[count] = c":"
        sizes.header = count + 1
        sizes.trailer = 1
        return size <= self.max_frame - count - 2


cdef class DelimiterFormat(FrameFormat):
    """A message until its delimiter: see `epollo.framing.delimiter`."""

    def __init__(self, framing):
        super().__init__(framing)
        self.line = isinstance(framing, Line)
        self._end_with(b"\n" if self.line else framing.delimiter)

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        cdef Py_ssize_t size = len(self.trailer)
        cdef Py_ssize_t begin = max(0, seen - size + 1)
        cdef Octets found
        if size == 1:
            found = <Octets> memchr(data + begin, self.trailer_data[0], count - begin)
        else:
            found = <Octets> memmem(data + begin, count - begin, self.trailer_data, size)
        cdef Py_ssize_t stop = count if found is NULL else found - data
        span.start = 0
        span.size = stop + size
        if found is NULL:
            stop -= self._partial_delimiter(data, count)
        elif self.line and stop and data[stop - 1] == c"\r":
            stop -= 1
        span.stop = stop
        if stop > self.max_frame:
            return BAD
        return HEADER if found is NULL else WHOLE

    cdef Py_ssize_t _partial_delimiter(self, Octets data, Py_ssize_t count) noexcept:
        """How many of the last bytes may be the first of the delimiter."""
        cdef Py_ssize_t most = min(count, <Py_ssize_t> len(self.trailer) - 1)
        if self.line:
            return 1 if count and data[count - 1] == c"\r" else 0
        while most and memcmp(data + count - most, self.trailer_data, most):
            most -= 1
        return most

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        sizes.header = 0
        sizes.trailer = len(self.trailer)
        if data is NULL:  # the message is not known yet, so neither is whether it can be sent
            return False
        if size > self.max_frame or self._partial_delimiter(data, size):
            return False
        return memmem(data, size, self.trailer_data, sizes.trailer) is NULL


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
    Varint: VarintFormat,
    Netstring: NetstringFormat,
    Delimiter: DelimiterFormat,
    Line: DelimiterFormat,
    Fixed: FixedFormat,
    Raw: RawFormat,
}


cdef FrameFormat format_of(object framing):
    """The format of ``framing``. For a user's own framing, every frame is BAD."""
    return _FORMATS.get(type(framing), FrameFormat)(framing)


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
