"""Messages and bytes, in and out: `epollo.engine.traffic` once more, in 64 bytes."""

from cython cimport final
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


@final
cdef class Traffic:
    """Totals since its creation."""

    def __cinit__(self):
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.since = now.tv_sec + now.tv_nsec * 1e-9

    def add(self, Traffic other not None):
        """Count what ``other`` has counted, too."""
        self.messages_in += other.messages_in
        self.messages_out += other.messages_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
