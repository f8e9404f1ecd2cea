from cython cimport final
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from epollo.engine.native.rules cimport Rule

cdef enum:
    HEADER = 20  # bytes: number, connection, time
    STEP = 1021  # APART and PERIOD of `epollo.bench.load.payload`
    WAVE = 256

cdef struct Frame:  # that of any message, where all are as long
    Py_ssize_t size  # bytes, in all; 0: frames are not known
    Py_ssize_t message  # bytes of them, the last ones
    uint64_t begin  # the first bytes: the framing's header, which is the same in all
    uint64_t mask  # of the bits that are the header's


cdef class Messages:
    cdef object payload
    cdef object python  # makes those that are not made here
    cdef bytes pattern
    cdef const uint8_t *pattern_data
    cdef Py_ssize_t *sizes
    cdef Py_ssize_t count
    cdef Frame frame

    cdef int _know_frame(self, Rule rule) except -1
    cdef bytes make(self, uint64_t connection, uint64_t number, int64_t due)

    @final
    cdef inline Py_ssize_t size(self, uint64_t connection, uint64_t number) noexcept:
        """Its size, where it is made here: then ``sizes`` is not NULL."""
        if self.count == 1:
            return self.sizes[0]
        return self.sizes[(number + connection * STEP) % <uint64_t> self.count]

    @final
    cdef inline void write(
        self, uint64_t connection, uint64_t number, int64_t due, uint8_t *place, Py_ssize_t size
    ) noexcept:
        """Its ``size`` bytes."""
        cdef uint8_t header[HEADER]
        if size < HEADER:
            put_header(connection, number, due, header)
            memcpy(place, header, size)
            return
        put_header(connection, number, due, place)
        memcpy(
            place + HEADER, self.pattern_data + (number * 7 + connection) % WAVE, size - HEADER
        )

    @final
    cdef inline bint equal(
        self,
        uint64_t connection,
        uint64_t number,
        int64_t due,
        const uint8_t *data,
        Py_ssize_t size,
    ) noexcept:
        """Is that it, to the byte?"""
        cdef uint8_t header[HEADER]
        if size != self.size(connection, number):
            return False
        if size < HEADER:
            put_header(connection, number, due, header)
            return not memcmp(data, header, size)
        return is_header(connection, number, due, data) and not memcmp(
            data + HEADER, self.pattern_data + (number * 7 + connection) % WAVE, size - HEADER
        )

    @final
    cdef inline void write_frame(
        self, uint64_t connection, uint64_t number, int64_t due, uint8_t *place
    ) noexcept:
        """All bytes of the frame that carries it, where frames are known."""
        cdef Py_ssize_t header = self.frame.size - self.frame.message
        memcpy(place, &self.frame.begin, sizeof(uint64_t))
        self.write(connection, number, due, place + header, self.frame.message)

    @final
    cdef inline bint equal_frame(
        self, uint64_t connection, uint64_t number, int64_t due, const uint8_t *data
    ) noexcept:
        """Is that the frame that carries it, where frames are known?"""
        cdef Py_ssize_t header = self.frame.size - self.frame.message
        cdef uint64_t begin
        memcpy(&begin, data, sizeof(uint64_t))
        if (begin ^ self.frame.begin) & self.frame.mask:
            return False
        data += header
        return is_header(connection, number, due, data) and not memcmp(
            data + HEADER,
            self.pattern_data + (number * 7 + connection) % WAVE,
            self.frame.message - HEADER,
        )


cdef inline void put_header(
    uint64_t connection, uint64_t number, int64_t due, uint8_t *place
) noexcept:
    """Little-endian, as every machine is that this is built for."""
    cdef uint32_t narrow = <uint32_t> connection
    memcpy(place, &number, 8)
    memcpy(place + 8, &narrow, 4)
    memcpy(place + 12, &due, 8)


cdef inline bint is_header(
    uint64_t connection, uint64_t number, int64_t due, const uint8_t *data
) noexcept:
    """Is that what `put_header` writes? It is compared where it lies: to compose one and compare
    that would be to wait for the bytes just written."""
    cdef uint64_t first
    cdef uint32_t narrow
    cdef int64_t last
    memcpy(&first, data, 8)
    memcpy(&narrow, data + 8, 4)
    memcpy(&last, data + 12, 8)
    return first == number and narrow == <uint32_t> connection and last == due
