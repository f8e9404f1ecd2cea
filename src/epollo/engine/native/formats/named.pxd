from epollo.engine.native.formats.words cimport Octets

cdef enum:
    UNKNOWN = 0  # too few bytes
    INVALID = -1  # no frame, or one that only the framing's own decoder knows
    ASK = -2  # only `measure` of the class knows

# The size of the frame at ``data``; none is over ``most``. If it has ``ended``, a trailer follows.
# ``width`` may be set to the number of its first bytes that tell the size: a frame that begins with
# the same ones is found faster.
ctypedef Py_ssize_t (*Measure)(
    Octets data, Py_ssize_t count, Py_ssize_t most, bint ended, Py_ssize_t *width
) noexcept

cdef int find_measure(object framing, Measure *measure) except -1
