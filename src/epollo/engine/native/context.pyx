"""What the connections of one loop, and of one protocol on it, have in common."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject

from epollo.engine.native.formats.choice cimport format_of
from epollo.engine.native.protocol cimport NativeProtocol

from types import MethodType

from epollo.engine.framings import context_with
from epollo.engine.pauses import RATE_ROUNDING
from epollo.framing.own import checked

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    Vectorcall PyVectorcall_Function(PyObject *callable)
    Py_ssize_t PY_SSIZE_T_MAX
    object PyObject_Vectorcall(
        PyObject *callable, PyObject **arguments, size_t count, PyObject *names
    )

cdef enum:
    MOST_ALLOWED = 16  # messages for each look at the clock


cdef class LoopBuffers:
    """One buffer to read into, and one for the replies to that: connections are served one after
    the other, and an idle one has no buffer."""

    def __cinit__(self):
        self.to_flush = []
        self.growth_limit = PY_SSIZE_T_MAX
        self.input = <uint8_t *> PyMem_Malloc(READ_SIZE)
        self.output = <uint8_t *> PyMem_Malloc(REPLY_SIZE + BEHIND)
        if self.input is NULL or self.output is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.input)
        PyMem_Free(self.output)


cdef class ConnectionContext:
    """What the connections of one protocol have in common, looked up once."""

    def __init__(self, loop, LoopBuffers buffers, protocol, framing=None):
        self.loop = loop
        self.buffers = buffers
        self.protocol = protocol
        self.received, self.bound, self.first = protocol.received, None, 1
        last = 2 if getattr(protocol, "wants_connection", True) else 1
        self.arguments = last | PY_VECTORCALL_ARGUMENTS_OFFSET
        if type(self.received) is MethodType:  # whose own call costs some 50 instructions
            self.bound, self.received, self.first = (
                self.received.__self__, self.received.__func__, 0
            )
            self.arguments = last + 1
        # The fastest way to call it is found once, not for each message.
        self.call = PyVectorcall_Function(<PyObject *> self.received)
        if self.call is NULL:
            self.call = PyObject_Vectorcall
        framing = checked(protocol.framing if framing is None else framing)
        self.contexts = {}
        self.encode = framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.format = format_of(framing)
        self.native = protocol if isinstance(protocol, NativeProtocol) else None
        self.counts = getattr(protocol, "counts", False)
        rates = getattr(protocol, "rates", None)
        if rates is not None:
            self.interval, self.burst = rates.interval, rates.burst
            self.full = self.burst + RATE_ROUNDING
            part = min(self.burst / 8, MOST_ALLOWED * self.interval)
            self.most_allowed = max(1, int(part / self.interval))
            self.most_taken = self.full - part

    @property
    def framing(self):
        """The framing of all its connections."""
        return self.format.framing

    def with_framing(self, given):
        """The same with the framing ``given``. Raises FramingSpecError."""
        return context_with(self, given)

    def other(self, framing):
        """A new one with ``framing``."""
        cdef ConnectionContext other = ConnectionContext(
            self.loop, self.buffers, self.protocol, framing
        )
        other.contexts = self.contexts
        return other
