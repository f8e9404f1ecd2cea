"""Recording as `epollo.bench.results.histogram` does, in an array."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT64_MAX, uint64_t
from libc.string cimport memset

from epollo.bench.run.native.bucket_counts cimport bucket_counts_of

from epollo.bench.results.histogram import Histogram


cdef class Recorder:
    """Counts of non-negative integers, in the buckets of an HdrHistogram of three digits."""

    def __cinit__(self):
        self.counts = <uint64_t *> PyMem_Calloc(BUCKETS, sizeof(uint64_t))
        if self.counts is NULL:
            raise MemoryError
        self._forget()

    def __dealloc__(self):
        PyMem_Free(self.counts)

    cdef object histogram(self):
        """The values recorded, as a Histogram that keeps no tie to this object."""
        cdef Py_ssize_t used = bucket_of(self.maximum) + 1
        cdef uint64_t total = 0
        cdef Py_ssize_t index
        for index in range(used):
            total += self.counts[index]
        cdef object high = <uint64_t> (self.squares >> 64), low = <uint64_t> self.squares
        counts = bucket_counts_of(self.counts, used)
        return Histogram.of_buckets(
            counts, total, self.sum, (high << 64) + low, self.minimum, self.maximum
        )

    cdef void add(self, Recorder other) noexcept:
        """Count all values of ``other`` too."""
        cdef Py_ssize_t index
        for index in range(bucket_of(other.maximum) + 1):
            self.counts[index] += other.counts[index]
        self.sum += other.sum
        self.squares += other.squares
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    cdef void clear(self) noexcept:
        """Forget all values."""
        memset(self.counts, 0, (bucket_of(self.maximum) + 1) * sizeof(uint64_t))
        self._forget()

    cdef void _forget(self) noexcept:
        self.sum = 0
        self.squares = 0
        self.maximum = 0
        self.minimum = INT64_MAX
