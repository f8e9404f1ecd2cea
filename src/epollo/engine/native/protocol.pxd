from libc.stdint cimport uint8_t

from epollo.engine.native.decoder cimport Cursor


cdef class NativeProtocol:
    cdef void begin_read(self) noexcept
    cdef Py_ssize_t on_batch(self, Cursor *cursor, uint8_t *place, Py_ssize_t room) noexcept
    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size)
