"""A protocol that is compiled too: it hears messages where they lie, without an object for each."""

from libc.stdint cimport uint8_t


cdef class Reader:
    """What such a protocol inherits, and overrides.

    Its ``received`` stays, for the messages that come otherwise: in parts, or held back.
    """

    cdef int begin_read(self) except -1:
        """Bytes have come: all that `hear` is told until the next time came with them."""
        return 0

    cdef bytes hear(self, object connection, const uint8_t *data, Py_ssize_t size):
        """One message; returns what it is answered with, or None. An answer may also be written
        where ``connection.place`` says."""
        return None
