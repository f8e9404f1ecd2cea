from libc.stdint cimport uint8_t

from epollo.engine.native.decoder cimport Stretch


cdef class Reader:
    cdef void begin_read(self) noexcept
    cdef Py_ssize_t take(self, Stretch *rest, uint8_t *place, Py_ssize_t room) noexcept
    cdef bytes hear(self, object connection, const uint8_t *data, Py_ssize_t size)
