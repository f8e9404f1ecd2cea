from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

ctypedef const uint8_t *Octets

cdef enum Found:
    WHOLE  # the whole frame is here
    PART  # its header is here, so its span is known
    HEADER  # its header is not complete
    BAD  # these bytes cannot be a frame

cdef struct Span:  # of a frame, counted from its first byte
    Py_ssize_t start  # of its message
    Py_ssize_t stop  # of its message
    Py_ssize_t size  # of the frame

cdef enum:
    LONGEST_HEADER = 24
    REMEMBERED = 256  # bytes of a block of headers

cdef struct Number:  # the length in a frame
    uint64_t value  # at most 2^63 - 1
    Py_ssize_t width  # bytes that it takes

cdef struct Envelope:  # bytes that go on the wire before a message, and after it
    Py_ssize_t header
    Py_ssize_t trailer


cdef struct Remembered:  # of the last frame found, and the last message wrapped: most are alike
    uint64_t begin  # the first bytes of the frame
    uint64_t mask  # of those that tell its size; 0: nothing is remembered
    Span span
    Py_ssize_t message  # bytes of the message; -1: nothing is remembered
    uint64_t header
    Envelope sizes


cdef class FrameFormat:
    cdef readonly object framing
    cdef Py_ssize_t max_frame
    cdef bint asks  # Python code says how large a frame is: a SizedFormat
    cdef int64_t plain  # bytes of the longest message if the framing is u32; else -1
    cdef bytes trailer
    cdef const uint8_t *trailer_data
    cdef Remembered last

    cdef int _end_with(self, bytes trailer) except -1
    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept
    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept


cdef class LengthFormat(FrameFormat):
    cdef Py_ssize_t offset
    cdef Py_ssize_t size
    cdef Py_ssize_t end
    cdef Py_ssize_t strip
    cdef bint little
    cdef bint before  # the header goes before the message
    cdef int64_t extra  # bytes of the frame besides those that the length counts
    cdef uint64_t least, most  # valid lengths
    cdef int64_t adjust


cdef class AnnouncedFormat(FrameFormat):
    cdef Py_ssize_t offset
    cdef int64_t adjust
    cdef uint64_t most_value
    cdef bint whole  # the message is the whole frame
    cdef Py_ssize_t told  # the first byte of a frame that tells its size
    cdef uint8_t ending  # the byte that ends every frame, if there is a trailer

    cdef Found read(self, Octets data, Py_ssize_t count, Number *number) noexcept
    cdef Py_ssize_t write(self, uint64_t length, uint8_t *place) noexcept


cdef class DigitsFormat(AnnouncedFormat):
    cdef Py_ssize_t size


cdef class DigitsUntilFormat(AnnouncedFormat):
    cdef Py_ssize_t most_digits
    cdef uint8_t stop


cdef class BcdFormat(AnnouncedFormat):
    cdef Py_ssize_t size


cdef class VarintFormat(AnnouncedFormat):
    cdef Py_ssize_t most_width


cdef class BerFormat(AnnouncedFormat):
    pass


cdef class DelimiterFormat(FrameFormat):
    cdef bint line
    cdef bytes start  # of every frame; may be empty
    cdef const uint8_t *start_data
    cdef Py_ssize_t start_size
    cdef bytes end
    cdef const uint8_t *end_data
    cdef Py_ssize_t end_size

    cdef Octets _end_in(self, Octets data, Py_ssize_t count) noexcept
    cdef Py_ssize_t _partial_delimiter(self, Octets data, Py_ssize_t count) noexcept


cdef class HeadersFormat(FrameFormat):
    cdef Py_ssize_t most
    cdef bytes alias
    cdef const char *alias_data
    cdef Py_ssize_t alias_size
    cdef uint8_t block[REMEMBERED]  # the headers of the last frame: many are the same again
    cdef Py_ssize_t block_size  # bytes; 0: nothing is remembered

    cdef Found _ended(self, Octets data, Py_ssize_t count, Py_ssize_t seen) noexcept
    cdef Found _parse(self, Octets data, Py_ssize_t count, Span *span) noexcept
    cdef Found _of_length(self, Octets line, Py_ssize_t size, int64_t *length) noexcept


cdef class FixedFormat(FrameFormat):
    cdef Py_ssize_t size


cdef class RawFormat(FrameFormat):
    pass


cdef FrameFormat format_of(object framing)


cdef inline Found find_frame(
    FrameFormat format, Octets data, Py_ssize_t count, Span *span
) noexcept:
    """`FrameFormat.find` for a frame of which nothing was looked at before; without a call for the
    usual framing."""
    cdef int64_t length
    if count < 4:
        return format.find(data, count, 0, span)
    length = u32_of(data)
    if length > format.plain:
        return find_alike(format, data, count, span)
    span.start = 4
    span.stop = span.size = 4 + length
    return WHOLE if count >= span.size else PART


cdef inline Found find_alike(
    FrameFormat format, Octets data, Py_ssize_t count, Span *span
) noexcept:
    """The same, without a call if the frame has the length of the one before."""
    if format.last.mask and count >= <Py_ssize_t> sizeof(uint64_t):
        if not (u64_of(data) ^ format.last.begin) & format.last.mask:
            span[0] = format.last.span
            return WHOLE if count >= span.size else PART
    return format.find(data, count, 0, span)


cdef inline bint wrap_message(
    FrameFormat format, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes
) noexcept:
    """`FrameFormat.wrap`, in the same way."""
    if size > format.plain:
        if size == format.last.message:
            put_u64(header, format.last.header)
            sizes[0] = format.last.sizes
            return True
        return format.wrap(data, size, header, sizes)
    put_u32(header, <uint32_t> size)
    sizes.header = 4
    sizes.trailer = 0
    return True


# The most significant byte first. A compiler makes one instruction of each.


cdef inline uint32_t u32_of(Octets data) noexcept:
    return <uint32_t> data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]


cdef inline void put_u32(uint8_t *place, uint32_t value) noexcept:
    place[0], place[1] = <uint8_t> (value >> 24), <uint8_t> (value >> 16)
    place[2], place[3] = <uint8_t> (value >> 8), <uint8_t> value


cdef inline uint64_t u64_of(Octets data) noexcept:
    return <uint64_t> u32_of(data) << 32 | u32_of(data + 4)


cdef inline void put_u64(uint8_t *place, uint64_t value) noexcept:
    put_u32(place, <uint32_t> (value >> 32))
    put_u32(place + 4, <uint32_t> value)
