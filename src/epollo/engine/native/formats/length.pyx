"""Lengths of a fixed number of bytes in one place: see `epollo.framing.length`."""

from cython cimport final
from libc.stdint cimport INT64_MAX, uint8_t, uint64_t

from epollo.engine.native.formats.base cimport (
    HEADER,
    WHOLE,
    Envelope,
    Field,
    Found,
    FrameFormat,
    Span,
    find_length,
    length_at,
    remember_wrapped,
)
from epollo.engine.native.formats.words cimport WORD, Octets, big, little, put_word, u32_of


@final
cdef class LengthFormat(FrameFormat):
    """Netty's LengthFieldBasedFrameDecoder: see `epollo.framing.length`.

    A length is good between two bounds, which are worked out here once.
    """

    def __init__(self, framing):
        super().__init__(framing)
        self.size = framing.size
        self.end = framing.offset + framing.size
        self.adjust = framing.adjust
        self.before = framing.offset == 0 and framing.strip == self.end
        if not self.before and not framing.strip:
            self.again.least = 0
        cdef object extra = framing.adjust + self.end
        cdef object held = (1 << 8 * framing.size) - 1
        cdef object least = max(0, -framing.adjust, framing.strip - extra)
        cdef object longest = INT64_MAX - max(0, extra)
        cdef object most = min(held, longest, framing.max_frame - extra)
        if most < least:  # no length is valid
            least, most = 1, 0
        self.field.need = framing.offset + WORD
        self.field.offset = framing.offset
        self.field.shift = 8 * (WORD - self.size)
        self.field.little = framing.order == "little"
        self.field.least, self.field.most = least, most
        self.field.extra = extra
        self.field.strip = framing.strip
        if self.before and self.size == 4 and not self.field.little and not self.adjust:
            self.plain = -1 if most < least else most

    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept:
        if count < self.end:
            return HEADER
        cdef Octets place = data + self.field.offset
        return find_length(
            &self.field, _length(place, self.size, self.field.little), count, span
        )

    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept:
        cdef uint64_t length = <uint64_t> (size - self.adjust)
        if not self.before:
            return _is_frame(self, data, size, sizes)
        if size < self.adjust or length < self.field.least or length > self.field.most:
            return False
        put_word(header, little(length) if self.field.little else big(length << self.field.shift))
        sizes.header = self.size
        sizes.trailer = 0
        remember_wrapped(self, size, header, sizes)
        return True


cdef inline bint _is_frame(
    LengthFormat self, Octets data, Py_ssize_t size, Envelope *sizes
) noexcept:
    """Is the message a frame as it is? False if it is too short to tell at once."""
    cdef Field *field = &self.field
    cdef Span span
    sizes.header = sizes.trailer = 0
    if field.strip or data is NULL or size < field.need:
        return False
    return find_length(field, length_at(field, data), size, &span) == WHOLE and span.size == size


cdef inline uint64_t _length(Octets data, Py_ssize_t size, bint reverse) noexcept:
    cdef uint64_t length = 0
    cdef Py_ssize_t i
    if size == 4 and not reverse:
        return u32_of(data)
    for i in range(size):
        length = length << 8 | data[size - 1 - i if reverse else i]
    return length
