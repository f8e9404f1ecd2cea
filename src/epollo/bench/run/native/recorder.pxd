from cython cimport final
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    typedef unsigned __int128 epollo_uint128;
    """
    int __builtin_clzll(unsigned long long value) nogil
    # Only the C compiler knows its true size.
    ctypedef unsigned long long uint128_t "epollo_uint128"

cdef enum:
    BITS = 11  # 2048 sub-buckets: the power of two that distinguishes three decimal digits
    HALF = 1 << (BITS - 1)
    BUCKETS = (63 - BITS + 2) * HALF  # of all values of an int64_t


cdef class Recorder:
    cdef uint64_t *counts
    cdef uint64_t sum
    cdef uint128_t squares
    cdef int64_t minimum
    cdef int64_t maximum

    cdef object histogram(self)
    cdef void add(self, Recorder other) noexcept
    cdef void clear(self) noexcept
    cdef void _forget(self) noexcept

    @final
    cdef inline void record(self, int64_t value) noexcept:
        """Count one value of 0 or more."""
        self.record_many(value, 1)

    @final
    cdef inline void record_many(self, int64_t value, uint64_t count) noexcept:
        """Count a value of 0 or more, ``count`` times."""
        self.counts[bucket_of(value)] += count
        self.sum += value * count
        self.squares += <uint128_t> value * <uint128_t> value * count
        if value > self.maximum:
            self.maximum = value
        if value < self.minimum:
            self.minimum = value


cdef inline Py_ssize_t bucket_of(int64_t value) noexcept:
    """The index of the bucket of ``value``; a negative value is counted as 0."""
    if value < 0:
        return 0
    cdef int last = 63 ^ __builtin_clzll(value | (2 * HALF - 1))  # the highest bit set, from 0
    cdef int shift = last - BITS + 1
    return shift * HALF + (value >> shift)
