from cython cimport final
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from epollo.bench.run.native.frame cimport Frame, pattern_of
from epollo.bench.run.native.header cimport HEADER, is_header, put_header

cdef enum:
    STEP = 1021  # APART of `epollo.bench.load.payload`


cdef class Messages:
    cdef object payload
    cdef object python  # makes the messages that are not made here
    cdef list contents  # of the files of a payload; None if there are none
    cdef bytes pattern
    cdef const uint8_t *pattern_data
    cdef Py_ssize_t *sizes
    cdef Py_ssize_t count
    cdef Frame frame

    cdef bytes make(self, uint64_t connection, uint64_t number, int64_t due)

    @final
    cdef inline Py_ssize_t size(self, uint64_t connection, uint64_t number) noexcept:
        """The size of a message that is made here, that is, if ``sizes`` is not NULL."""
        if self.count == 1:
            return self.sizes[0]
        return self.sizes[(number + connection * STEP) % <uint64_t> self.count]

    @final
    cdef inline void write(
        self, uint64_t connection, uint64_t number, int64_t due, uint8_t *place, Py_ssize_t size
    ) noexcept:
        """Write the ``size`` bytes of a message to ``place``."""
        cdef uint8_t header[HEADER]
        if size < HEADER:
            put_header(connection, number, due, header)
            memcpy(place, header, size)
            return
        put_header(connection, number, due, place)
        memcpy(place + HEADER, pattern_of(self.pattern_data, connection, number), size - HEADER)

    @final
    cdef inline bint equal(
        self,
        uint64_t connection,
        uint64_t number,
        int64_t due,
        const uint8_t *data,
        Py_ssize_t size,
    ) noexcept:
        """Are ``data`` exactly the bytes of the message?"""
        cdef uint8_t header[HEADER]
        if size != self.size(connection, number):
            return False
        if size < HEADER:
            put_header(connection, number, due, header)
            return not memcmp(data, header, size)
        return is_header(connection, number, due, data) and not memcmp(
            data + HEADER, pattern_of(self.pattern_data, connection, number), size - HEADER
        )
