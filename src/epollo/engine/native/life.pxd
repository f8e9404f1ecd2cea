from libc.stdint cimport uint8_t

from epollo.engine.native.sending cimport Sender


cdef class Life(Sender):
    cdef bint enter(self, uint8_t stage) except -1
    cdef bint _is_plain(self) noexcept
