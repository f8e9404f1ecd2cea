"""A protocol that is compiled too: it hears messages where they lie, without an object for each."""

from libc.stdint cimport uint8_t

from epollo.engine.native.decoder cimport Cursor


cdef class NativeProtocol:
    """What such a protocol inherits, and overrides.

    Its ``received`` stays, for the messages that come otherwise: in parts, or held back.
    """

    cdef void begin_read(self) noexcept:
        """Bytes have come: all that is heard until the next time came with them."""

    cdef Py_ssize_t on_batch(self, Cursor *cursor, uint8_t *place, Py_ssize_t room) noexcept:
        """Of what ``cursor`` begins with, all that is as foreseen, frame by frame. What it is
        answered with is written to ``place``, where ``room`` bytes are free; returns how many it
        takes. `on_message` is told the message that is left in front."""
        return 0

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        """One message; returns what it is answered with, or None. An answer may also be written
        where ``connection.place`` says."""
        return None
