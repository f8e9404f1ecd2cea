from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from epollo.bench.run.native.header cimport HEADER, is_header, put_header
from epollo.engine.native.formats.base cimport FrameFormat

cdef enum:
    WAVE = 256  # PERIOD of `epollo.bench.load.payload`

cdef struct Frame:  # of any message of a run whose messages all have one size
    Py_ssize_t size  # bytes, of the whole frame; 0: not known
    Py_ssize_t envelope  # bytes of the framing's header, the same for all messages
    Py_ssize_t message  # bytes
    uint64_t begin  # the first bytes of the frame: the framing's header, then zeros
    uint64_t mask  # of the bits of that header
    const uint8_t *pattern


cdef inline const uint8_t *pattern_of(
    const uint8_t *pattern, uint64_t connection, uint64_t number
) noexcept:
    """The bytes that follow the header of a message."""
    return pattern + (number * 7 + connection) % WAVE


cdef inline void write_frame(
    const Frame *frame, uint64_t connection, uint64_t number, int64_t due, uint8_t *place
) noexcept:
    """Write the frame of the message ``number``."""
    memcpy(place, &frame.begin, sizeof(uint64_t))
    place += frame.envelope
    put_header(connection, number, due, place)
    place += HEADER
    memcpy(place, pattern_of(frame.pattern, connection, number), frame.message - HEADER)


cdef inline bint equal_frame(
    const Frame *frame, uint64_t connection, uint64_t number, int64_t due, const uint8_t *data
) noexcept:
    """Are ``data`` exactly the frame of the message ``number``?"""
    cdef uint64_t begin
    memcpy(&begin, data, sizeof(uint64_t))
    if (begin ^ frame.begin) & frame.mask:
        return False
    data += frame.envelope
    if not is_header(connection, number, due, data):
        return False
    data += HEADER
    return not memcmp(data, pattern_of(frame.pattern, connection, number), frame.message - HEADER)


cdef Frame frame_of(FrameFormat format, Py_ssize_t size, const uint8_t *pattern) noexcept
