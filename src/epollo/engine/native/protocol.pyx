"""A protocol that is compiled, too: it gets messages in place, without an object for each."""

from libc.stdint cimport uint8_t

from epollo.engine.native.decoder cimport Cursor


cdef class NativeProtocol:
    """The base class of such a protocol.

    Its ``received`` is still called for messages that came in parts, or were held back.
    """

    cdef void begin_read(self) noexcept:
        """Bytes have come: all calls until the next one of this are about them."""

    cdef Py_ssize_t on_batch(self, Cursor *cursor, uint8_t *place, Py_ssize_t room) noexcept:
        """Handle the expected frames at the front of ``cursor``. The answers are written to
        ``place``, which has space for ``room`` bytes; returns their size. `on_message` gets the
        first frame that was not expected."""
        return 0

    cdef bytes on_message(self, object connection, const uint8_t *data, Py_ssize_t size):
        """One message; returns its answer, or None. An answer may also be written to
        ``connection.place``."""
        return None
