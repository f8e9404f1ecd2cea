from libc.stdint cimport uint32_t, uint64_t


cdef class BucketCounts:
    cdef uint32_t *indexes  # in rising order
    cdef uint64_t *values
    cdef Py_ssize_t count
    cdef dict others

    cdef Py_ssize_t _find(self, Py_ssize_t index) noexcept


cdef BucketCounts bucket_counts_of(const uint64_t *buckets, Py_ssize_t used)
