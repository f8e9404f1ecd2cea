"""The frame that carries a message, where all messages are as long: header and all, it is foreseen.

So what comes need not be taken apart to be compared, nor what goes be put together.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from epollo.bench.run.native.header cimport HEADER
from epollo.engine.native.formats cimport LONGEST_HEADER, Envelope, FrameFormat

from epollo.bench.load.payload import PERIOD

assert WAVE == PERIOD

cdef Py_ssize_t WORD = sizeof(uint64_t)


cdef Frame frame_of(FrameFormat format, Py_ssize_t size, const uint8_t *pattern) noexcept:
    """That of messages of ``size`` bytes. It is not known where the framing ends a frame otherwise
    than by the length in a header, and that fits a word."""
    cdef Frame frame = Frame(0, 0, size, 0, 0, pattern)
    cdef uint8_t header[LONGEST_HEADER]
    cdef Envelope envelope
    if size < HEADER:
        return frame
    if not format.wrap(NULL, size, header, &envelope) or envelope.trailer:
        return frame
    if envelope.header > WORD:
        return frame
    memcpy(&frame.begin, header, envelope.header)
    if envelope.header:
        frame.mask = ~(<uint64_t> 0) >> 8 * (WORD - envelope.header)
    frame.envelope = envelope.header
    frame.size = envelope.header + size
    return frame
