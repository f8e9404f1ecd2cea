from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.formats.base cimport FrameFormat
from epollo.engine.native.protocol cimport NativeProtocol

cdef enum:
    READ_SIZE = 256 << 10  # bytes of one recv
    REPLY_SIZE = 64 << 10  # bytes of replies of one send
    BEHIND = 8  # bytes behind them that may be written, too

# With space before the arguments, for the object that a bound method is bound to (PEP 590).
ctypedef object (*Vectorcall)(
    PyObject *callable, PyObject **arguments, size_t count, PyObject *names
)


cdef class LoopBuffers:
    cdef uint8_t *input
    cdef uint8_t *output
    cdef Py_ssize_t used  # of the output
    cdef Py_ssize_t replied  # messages to the output, since `serving` was set
    cdef Py_ssize_t read  # messages of the last read; see `Loop.read_messages`
    cdef Py_ssize_t allowance  # messages that `serving` may deliver before its rate is looked at
    cdef Py_ssize_t allowed  # what that was when its rate was looked at
    cdef object serving  # the connection whose replies are in the output
    cdef unsigned long thread
    cdef list to_flush
    cdef bint polling  # in a turn
    cdef double clock  # when the turn began, or the last event that is timed had been served
    cdef uint32_t tick  # counts the sweeps
    cdef Py_ssize_t grown  # bytes that connections were given to hold; see `epollo.engine.growth`
    cdef Py_ssize_t growth_limit
    cdef object tell_growth


cdef class ConnectionContext:
    cdef LoopBuffers buffers
    cdef object received  # of a bound method, its function
    cdef object bound  # and the object that it is bound to; else None
    cdef Vectorcall call  # how ``received`` is called
    cdef Py_ssize_t first  # its first argument, of: ``bound``, the message, the connection
    cdef size_t arguments  # how many it takes, and the flag that there is space before them
    cdef readonly object loop
    cdef readonly object protocol
    cdef readonly object encode
    cdef readonly object filters
    cdef readonly dict contexts  # see `epollo.engine.framings.context_with`
    cdef FrameFormat format
    cdef NativeProtocol native  # the protocol itself, if it is compiled; or None
    cdef bint counts  # does each connection count messages and bytes?
    cdef readonly double interval  # seconds of each message; 0: no limit of messages a second
    cdef readonly double burst  # seconds; see `epollo.engine.interface.MessageRates`
    cdef double full  # seconds that a full bucket holds, with what is lost in rounding
    cdef Py_ssize_t most_allowed  # messages between two looks at the clock; 0: no limit
    cdef double most_taken  # seconds of a bucket that still holds that many
