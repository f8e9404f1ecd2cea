"""Lengths in some notation, one class each: see `epollo.framing.announced`."""

from cython cimport final
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t

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
    remember_wrapped,
)
from epollo.engine.native.formats.words cimport WORD, Octets, u64_of

from epollo.framing import Ber


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
        self.last.ending = self.ending if self.trailer else -1
        if self.whole and not self.trailer:
            self.again.least = 0

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
        cdef Py_ssize_t trailer = self.trailer_size
        if stop < end or stop > self.max_frame - trailer:
            return BAD
        span.start = 0 if self.whole else end
        span.stop = stop
        span.size = stop + trailer
        if end <= WORD <= count:
            self.last.begin = u64_of(data)
            self.last.mask = UINT64_MAX >> 8 * self.told & UINT64_MAX << 8 * (WORD - end)
            self.last.span = span[0]
        if count < span.size:
            return PART
        return BAD if trailer and data[stop] != self.ending else WHOLE

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        if self.whole:
            return is_whole(self, data, size, sizes)
        return self._wrap(size, header, sizes)

    cdef bint _wrap(self, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        """The same for a message behind its length."""
        cdef int64_t length = size - self.adjust
        sizes.trailer = self.trailer_size
        sizes.header = 0 if length < 0 else self.write(<uint64_t> length, header)
        if not sizes.header or size > self.max_frame - sizes.header - sizes.trailer:
            return False
        if sizes.header <= WORD:
            remember_wrapped(self, size, header, sizes)
        return True


@final
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


@final
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


@final
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


@final
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


@final
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
