"""Makes the messages of `epollo.bench.load.payload` in place; Python makes all others."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint64_t

from epollo.bench.run.native.frame cimport frame_of
from epollo.engine.native.formats.choice cimport format_of

from epollo.bench.load.contents import FilePayload
from epollo.bench.load.payload import APART, PERIOD, Payload

assert STEP == APART

cdef class Messages:
    """Makes the messages of a run."""

    def __cinit__(self):
        self.sizes = NULL

    def __init__(self, payload, framing):
        self.payload = payload
        self.python = payload.message
        self.contents = payload.messages if type(payload) is FilePayload else None
        if type(payload) is Payload and not payload.text:
            self.pattern = payload.pattern
            self.pattern_data = self.pattern
            if len(self.pattern) < max(payload.sizes) + PERIOD:  # see `pattern_of`
                raise ValueError(f"a pattern of {len(self.pattern)} bytes is too short")
            self.count = len(payload.sizes)
            self.sizes = <Py_ssize_t *> PyMem_Malloc(self.count * sizeof(Py_ssize_t))
            if self.sizes is NULL:
                raise MemoryError
            for index, size in enumerate(payload.sizes):
                self.sizes[<Py_ssize_t> index] = size
            if self.count == 1:
                self.frame = frame_of(format_of(framing), self.sizes[0], self.pattern_data)

    def __dealloc__(self):
        PyMem_Free(self.sizes)

    def message(self, connection, number, intended):
        """The message ``number`` of ``connection``, due at ``intended`` ns."""
        return self.make(connection, number, intended)

    cdef bytes make(self, uint64_t connection, uint64_t number, int64_t due):
        """The message ``number`` of ``connection``, due at ``due`` ns."""
        cdef Py_ssize_t size
        cdef bytes message
        if self.sizes is NULL:
            if self.contents is None:
                return self.python(connection, number, due)
            return self.contents[(number + connection * STEP) % <uint64_t> len(self.contents)]
        size = self.size(connection, number)
        message = PyBytes_FromStringAndSize(NULL, size)
        self.write(connection, number, due, <uint8_t *> PyBytes_AS_STRING(message), size)
        return message
