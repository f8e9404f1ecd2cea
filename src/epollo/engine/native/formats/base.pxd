from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from epollo.engine.native.formats.words cimport (
    Octets,
    big,
    little,
    put_u32,
    put_word,
    u32_of,
    u64_of,
    word_of,
)

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

cdef struct Envelope:  # bytes that go on the wire before a message, and after it
    Py_ssize_t header
    Py_ssize_t trailer


cdef struct Remembered:  # of the last frame found: most are alike
    uint64_t begin  # the first bytes of the frame
    uint64_t mask  # of those that tell its size; 0: nothing is remembered
    Span span
    int ending  # the byte behind the message; -1: it is the last one


cdef enum:
    WRAPPED = 16  # sizes of messages of which the header is remembered; a power of two


cdef struct Wrapped:  # of a message that went out: many have a size that others had
    Py_ssize_t message  # bytes; -1: nothing is remembered
    uint64_t header
    Envelope sizes


cdef struct Field:  # a length in one place of every frame, if the framing has that
    Py_ssize_t need  # bytes of a frame from which it can be read as a word
    Py_ssize_t offset
    int shift  # bits of a word that it does not fill
    bint little
    uint64_t least, most  # valid lengths
    int64_t extra  # bytes of the frame besides those that the length counts
    Py_ssize_t strip


cdef struct Again:  # how a message goes out that came in by the same framing, as in an echo
    Py_ssize_t least  # as long as this, it makes a valid frame: nothing is checked
    int last_byte  # unless it ends with this one; -1: whatever it ends with
    uint64_t header  # in the order of the machine
    Envelope sizes


cdef class FrameFormat:
    cdef readonly object framing
    cdef Py_ssize_t max_frame
    cdef bint asks  # Python code says how large a frame is: a SizedFormat
    cdef int64_t plain  # bytes of the longest message if the framing is u32; else -1
    cdef bytes trailer
    cdef const uint8_t *trailer_data
    cdef Py_ssize_t trailer_size
    cdef uint64_t trailer_word  # its first bytes, in the order of the machine
    cdef Field field
    cdef Again again
    cdef Remembered last
    cdef Wrapped wrapped[WRAPPED]

    cdef int _end_with(self, bytes trailer) except -1
    cdef Found find(self, Octets data, Py_ssize_t count, Py_ssize_t seen, Span *span) noexcept
    cdef bint wrap(self, Octets data, Py_ssize_t size, uint8_t *header, Envelope *sizes) noexcept


cdef inline Found find_frame(
    FrameFormat format, Octets data, Py_ssize_t count, Span *span
) noexcept:
    """`FrameFormat.find` for a frame of which nothing was looked at before; without a call for a
    length in one place, and with the fewest instructions for the usual framing."""
    cdef int64_t length
    if count < 4:
        return format.find(data, count, 0, span)
    length = u32_of(data)
    if length <= format.plain:
        span.start = 4
        span.stop = span.size = 4 + length
        return WHOLE if count >= span.size else PART
    if count < format.field.need:
        return find_alike(format, data, count, span)
    return find_length(&format.field, length_at(&format.field, data), count, span)


cdef inline uint64_t length_at(const Field *field, Octets data) noexcept:
    """The length in a frame that has the bytes which that needs."""
    cdef uint64_t word = word_of(data + field.offset)
    if field.little:
        return little(word) << field.shift >> field.shift
    return big(word) >> field.shift


cdef inline Found find_length(
    const Field *field, uint64_t length, Py_ssize_t count, Span *span
) noexcept:
    """The span of a frame with that length in it."""
    if length < field.least or length > field.most:
        return BAD
    span.start = field.strip
    span.stop = span.size = <Py_ssize_t> (<int64_t> length + field.extra)
    return WHOLE if count >= span.size else PART


cdef inline Found find_alike(
    FrameFormat format, Octets data, Py_ssize_t count, Span *span
) noexcept:
    """As `find_frame`, without a call if the bytes that tell the frame's size are as in the frame
    before."""
    if format.last.mask and count >= <Py_ssize_t> sizeof(uint64_t):
        if not (u64_of(data) ^ format.last.begin) & format.last.mask:
            span[0] = format.last.span
            if count < span.size:
                return PART
            if format.last.ending >= 0 and data[span.stop] != format.last.ending:
                return BAD
            return WHOLE
    return format.find(data, count, 0, span)


cdef inline bint wrap_message(
    FrameFormat format, Octets data, Py_ssize_t size, bint again, uint8_t *header, Envelope *sizes
) noexcept:
    """`FrameFormat.wrap`, without a call for a size whose header is remembered. ``again``: the
    message came in by this format."""
    cdef const Wrapped *like = &format.wrapped[size & (WRAPPED - 1)]
    if size > format.plain:
        if again and size >= format.again.least:
            if not size or data[size - 1] != format.again.last_byte:
                put_word(header, format.again.header)
                sizes[0] = format.again.sizes
                return True
        if size == like.message:
            put_word(header, like.header)
            sizes[0] = like.sizes
            return True
        return format.wrap(data, size, header, sizes)
    put_u32(header, <uint32_t> size)
    sizes.header = 4
    sizes.trailer = 0
    return True


cdef inline void remember_wrapped(
    FrameFormat format, Py_ssize_t size, Octets header, const Envelope *sizes
) noexcept:
    """That ``header``, of at most a word, is for every message of that size."""
    cdef Wrapped *like = &format.wrapped[size & (WRAPPED - 1)]
    like.message = size
    like.header = word_of(header)  # what is behind the header does not matter
    like.sizes = sizes[0]


cdef inline bint is_whole(
    FrameFormat format, Octets data, Py_ssize_t size, Envelope *sizes
) noexcept:
    """Is the message a frame as it is? Not known, and so false, if there is no ``data``."""
    cdef Span span
    sizes.header = sizes.trailer = 0
    if data is NULL or not size:
        return False
    return find_alike(format, data, size, &span) == WHOLE and span.size == size
