"""The counts of a histogram that is done, or nearly: without an object for each."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t, uint64_t


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


cdef Counts counts_of(const uint64_t *buckets, Py_ssize_t used):
    """Those of the first ``used`` buckets that hold something."""
    cdef Counts counts = Counts()
    cdef Py_ssize_t index, count = 0
    for index in range(used):
        count += buckets[index] != 0
    counts.indexes = <uint32_t *> PyMem_Malloc(max(1, count) * sizeof(uint32_t))
    counts.values = <uint64_t *> PyMem_Malloc(max(1, count) * sizeof(uint64_t))
    if counts.indexes is NULL or counts.values is NULL:
        raise MemoryError
    for index in range(used):
        if buckets[index]:
            counts.indexes[counts.count] = <uint32_t> index
            counts.values[counts.count] = buckets[index]
            counts.count += 1
    return counts
