"""The counts of a finished histogram, without a Python object for each of them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from array import array


cdef class BucketCounts:
    """A mapping of bucket indexes to counts, as `Histogram` needs it; 0 for any other index.

    To make a dictionary of the thousands of counts of a second would delay the messages of an open
    loop by milliseconds. Only counts that come late, to empty buckets, are in a dictionary.
    """

    def __cinit__(self):
        self.others = {}

    def __dealloc__(self):
        PyMem_Free(self.indexes)
        PyMem_Free(self.values)

    def __getitem__(self, Py_ssize_t index):
        cdef Py_ssize_t place = self._find(index)
        return self.others.get(index, 0) if place < 0 else self.values[place]

    def __setitem__(self, Py_ssize_t index, value):
        cdef Py_ssize_t place = self._find(index)
        if place < 0:
            self.others[index] = value
        else:
            self.values[place] = value

    def __iter__(self):
        return iter([index for index, _ in self.items()])

    def __len__(self):
        return self.count + len(self.others)

    def items(self):
        """All pairs of index and count; in rising order unless some came late."""
        cdef Py_ssize_t place
        pairs = [(self.indexes[place], self.values[place]) for place in range(self.count)]
        return pairs + list(self.others.items())

    def columns(self):
        """The indexes in rising order, and their counts; none of 0."""
        if self.others:
            pairs = [(index, count) for index, count in sorted(self.items()) if count]
            return [index for index, _ in pairs], [count for _, count in pairs]
        indexes, counts = array("I"), array("Q")
        indexes.frombytes((<char *> self.indexes)[:self.count * sizeof(uint32_t)])
        counts.frombytes((<char *> self.values)[:self.count * sizeof(uint64_t)])
        return indexes, counts

    def __reduce__(self):
        """Pickled as two blocks of bytes: each second is sent to another process."""
        indexes = (<char *> self.indexes)[:self.count * sizeof(uint32_t)]
        values = (<char *> self.values)[:self.count * sizeof(uint64_t)]
        return unpickled, (<bytes> indexes, <bytes> values, self.others)

    cdef Py_ssize_t _find(self, Py_ssize_t index) noexcept:
        """The place of ``index``; -1 if it is not there."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if self.indexes[middle] < index:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self.indexes[low] == index else -1


def unpickled(bytes indexes not None, bytes values not None, dict others not None):
    """The counts that `BucketCounts.__reduce__` pickled."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(indexes) // sizeof(uint32_t)
    whole = PyBytes_GET_SIZE(indexes) == count * <Py_ssize_t> sizeof(uint32_t)
    if not whole or PyBytes_GET_SIZE(values) != count * <Py_ssize_t> sizeof(uint64_t):
        raise ValueError(
            f"{PyBytes_GET_SIZE(values)} bytes of values for {PyBytes_GET_SIZE(indexes)} of indexes"
        )
    cdef BucketCounts counts = _allocated(count)
    counts.count = count
    memcpy(counts.indexes, PyBytes_AS_STRING(indexes), PyBytes_GET_SIZE(indexes))
    memcpy(counts.values, PyBytes_AS_STRING(values), PyBytes_GET_SIZE(values))
    counts.others = others
    return counts


cdef BucketCounts _allocated(Py_ssize_t count):
    cdef BucketCounts counts = BucketCounts()
    counts.indexes = <uint32_t *> PyMem_Malloc(max(1, count) * sizeof(uint32_t))
    counts.values = <uint64_t *> PyMem_Malloc(max(1, count) * sizeof(uint64_t))
    if counts.indexes is NULL or counts.values is NULL:
        raise MemoryError
    return counts


cdef BucketCounts bucket_counts_of(const uint64_t *buckets, Py_ssize_t used):
    """The counts of the first ``used`` buckets, without those of 0."""
    cdef Py_ssize_t index, count = 0
    for index in range(used):
        count += buckets[index] != 0
    cdef BucketCounts counts = _allocated(count)
    for index in range(used):
        if buckets[index]:
            counts.indexes[counts.count] = <uint32_t> index
            counts.values[counts.count] = buckets[index]
            counts.count += 1
    return counts
