from cython cimport final
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    HEADER = 20  # bytes: number, connection, time
    STEP = 1021  # APART and PERIOD of `epollo.bench.load.payload`
    WAVE = 256


cdef class Messages:
    cdef object payload
    cdef object python  # makes those that are not made here
    cdef bytes pattern
    cdef const uint8_t *pattern_data
    cdef Py_ssize_t *sizes
    cdef Py_ssize_t count

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
        put_header(connection, number, due, header)
        if memcmp(data, header, min(size, HEADER)):
            return False
        return size <= HEADER or not memcmp(
            data + HEADER, self.pattern_data + (number * 7 + connection) % WAVE, size - HEADER
        )


cdef inline void put_header(
    uint64_t connection, uint64_t number, int64_t due, uint8_t *place
) noexcept:
    """Little-endian, as every machine is that this is built for."""
    cdef uint32_t narrow = <uint32_t> connection
    memcpy(place, &number, 8)
    memcpy(place + 8, &narrow, 4)
    memcpy(place + 12, &due, 8)
