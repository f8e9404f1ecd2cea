"""The counts of a histogram that is done, or nearly: without an object for each."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy


cdef class Counts:
    """A mapping of indexes to counts, as `Histogram` wants one; 0 for what is not in it.

    To make a dictionary of a second's thousands would keep an open loop from its plan for
    milliseconds. What comes late, to buckets that had nothing, is in a dictionary beside.
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
        """All of them, in rising order only where none came late."""
        cdef Py_ssize_t place
        pairs = [(self.indexes[place], self.values[place]) for place in range(self.count)]
        return pairs + list(self.others.items())

    def __reduce__(self):
        """For another process, which is told of each second: two blocks of bytes."""
        indexes = (<char *> self.indexes)[:self.count * sizeof(uint32_t)]
        values = (<char *> self.values)[:self.count * sizeof(uint64_t)]
        return again, (<bytes> indexes, <bytes> values, self.others)

    cdef Py_ssize_t _find(self, Py_ssize_t index) noexcept:
        """Where it is; -1 where it is not."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if self.indexes[middle] < index:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self.indexes[low] == index else -1


def again(bytes indexes not None, bytes values not None, dict others not None):
    """The counts that `Counts.__reduce__` took apart."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(indexes) // sizeof(uint32_t)
    if PyBytes_GET_SIZE(values) != count * <Py_ssize_t> sizeof(uint64_t):
        raise ValueError(f"{count} counts have {PyBytes_GET_SIZE(values)} bytes of values")
    cdef Counts counts = _with_room(count)
    counts.count = count
    memcpy(counts.indexes, PyBytes_AS_STRING(indexes), PyBytes_GET_SIZE(indexes))
    memcpy(counts.values, PyBytes_AS_STRING(values), PyBytes_GET_SIZE(values))
    counts.others = others
    return counts


cdef Counts _with_room(Py_ssize_t count):
    cdef Counts counts = Counts()
    counts.indexes = <uint32_t *> PyMem_Malloc(max(1, count) * sizeof(uint32_t))
    counts.values = <uint64_t *> PyMem_Malloc(max(1, count) * sizeof(uint64_t))
    if counts.indexes is NULL or counts.values is NULL:
        raise MemoryError
    return counts


cdef Counts counts_of(const uint64_t *buckets, Py_ssize_t used):
    """Those of the first ``used`` buckets that hold something."""
    cdef Py_ssize_t index, count = 0
    for index in range(used):
        count += buckets[index] != 0
    cdef Counts counts = _with_room(count)
    for index in range(used):
        if buckets[index]:
            counts.indexes[counts.count] = <uint32_t> index
            counts.values[counts.count] = buckets[index]
            counts.count += 1
    return counts
