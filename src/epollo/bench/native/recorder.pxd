from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    typedef unsigned __int128 epollo_uint128;
    """
    ctypedef unsigned long long uint128_t "epollo_uint128"  # its true size is the compiler's to know

cdef enum:
    BITS = 11  # 2048 sub-buckets: the power of two that tells three decimal digits apart
    HALF = 1 << (BITS - 1)
    BUCKETS = (63 - BITS + 2) * HALF  # of all values of an int64_t


cdef class Recorder:
    cdef uint64_t *counts
    cdef uint64_t total
    cdef uint64_t sum
    cdef uint128_t squares
    cdef int64_t minimum
    cdef int64_t maximum

    cdef void record(self, int64_t value) noexcept
    cdef object take(self)
    cdef void _clear(self) noexcept
