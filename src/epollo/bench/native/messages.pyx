"""The messages of `epollo.bench.load.payload`, made in place; all others are left to Python."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from epollo.engine.native.rules cimport LONGEST_HEADER, Envelope, RawRule, Rule, rule_of

from epollo.bench.load.payload import APART, PERIOD, Payload

assert (STEP, WAVE) == (APART, PERIOD)

cdef class Messages:
    """Makes the messages of a run."""

    def __cinit__(self):
        self.sizes = NULL

    def __init__(self, payload, framing):
        self.payload = payload
        self.python = payload.message
        if type(payload) is Payload and not payload.text:
            self.pattern = payload.pattern
            self.pattern_data = self.pattern
            self.count = len(payload.sizes)
            self.sizes = <Py_ssize_t *> PyMem_Malloc(self.count * sizeof(Py_ssize_t))
            if self.sizes is NULL:
                raise MemoryError
            for index, size in enumerate(payload.sizes):
                self.sizes[<Py_ssize_t> index] = size
            self._know_frame(rule_of(framing))

    def __dealloc__(self):
        PyMem_Free(self.sizes)

    def message(self, connection, number, intended):
        """The message ``number`` of ``connection``, meant to be sent at ``intended`` ns."""
        return self.make(connection, number, intended)

    cdef int _know_frame(self, Rule rule) except -1:
        """Frames are known where each is one header and one message, all of them as long. (A raw
        stream has none.) The header is to fit one word, as it is compared, and written."""
        cdef uint8_t header[LONGEST_HEADER]
        cdef Envelope envelope
        cdef Py_ssize_t size = self.sizes[0]
        if self.count > 1 or isinstance(rule, RawRule):
            return 0
        if not rule.wrap(NULL, size, header, &envelope) or envelope.trailer:
            return 0
        if size < HEADER or envelope.header > <Py_ssize_t> sizeof(uint64_t):
            return 0
        memcpy(&self.frame.begin, header, envelope.header)
        self.frame.mask = ((<object> 1) << 8 * envelope.header) - 1
        self.frame.size, self.frame.message = envelope.header + size, size
        return 0

    cdef bytes make(self, uint64_t connection, uint64_t number, int64_t due):
        """The message ``number`` of ``connection``, due at ``due`` ns."""
        cdef Py_ssize_t size
        cdef bytes message
        if self.sizes is NULL:
            return self.python(connection, number, due)
        size = self.size(connection, number)
        message = PyBytes_FromStringAndSize(NULL, size)
        self.write(connection, number, due, <uint8_t *> PyBytes_AS_STRING(message), size)
        return message
