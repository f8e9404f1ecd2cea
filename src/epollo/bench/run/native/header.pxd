from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

# A message begins with its number, connection and due time. Little-endian, as are all machines that
# this is built for.

cdef enum:
    HEADER = 20  # bytes


cdef inline void put_header(
    uint64_t connection, uint64_t number, int64_t due, uint8_t *place
) noexcept:
    cdef uint32_t narrow = <uint32_t> connection
    memcpy(place, &number, 8)
    memcpy(place + 8, &narrow, 4)
    memcpy(place + 12, &due, 8)


cdef inline bint is_header(
    uint64_t connection, uint64_t number, int64_t due, const uint8_t *data
) noexcept:
    """Does ``data`` begin with this header? Fields are compared one by one: to compose a header and
    compare that would stall on bytes just written."""
    cdef uint64_t first
    cdef uint32_t second
    cdef int64_t third
    memcpy(&first, data, 8)
    memcpy(&second, data + 8, 4)
    memcpy(&third, data + 12, 8)
    return first == number and second == <uint32_t> connection and third == due
