"""The unsent output of one connection. Only a connection that has some owns an outbox."""

from cython cimport freelist
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memcpy, memmove
from posix.uio cimport iovec

cdef enum:
    SMALL = 512  # bytes; a shorter frame is copied behind the others, a longer one is kept as it is
    MOST_ROOM = 64 << 10


cdef Py_ssize_t _live = 0


def live():
    """How many outboxes there are: for tests that look for leaks."""
    return _live


@freelist(64)
cdef class Outbox:
    """A queue of bytes objects, each with the part of it that is unsent."""

    def __cinit__(self):
        global _live
        _live += 1

    def __dealloc__(self):
        global _live
        _live -= 1
        while self.first < self.last:
            Py_DECREF(<object> self.pieces[self.first].owner)
            self.first += 1
        PyMem_Free(self.pieces)

    cdef int copy(self, const void *data, Py_ssize_t count) except -1:
        """Queue a copy of ``data``, behind the last copy if there is enough space."""
        cdef Piece *tail = NULL if self.first == self.last else self.pieces + self.last - 1
        cdef bytes owner
        if tail is NULL or not tail.ours or _room(tail) < count:
            # With space for as much again as is queued, so that there are few of them.
            owner = PyBytes_FromStringAndSize(NULL, max(count, min(self.size, MOST_ROOM)))
            self._add(owner, 0, 0, True)
            tail = self.pieces + self.last - 1
        memcpy(PyBytes_AS_STRING(<object> tail.owner) + tail.stop, data, count)
        tail.stop += count
        self.size += count
        return 0

    cdef int refer(self, bytes owner, Py_ssize_t start) except -1:
        """Queue ``owner`` from ``start`` on. The first frame is kept as it is, even if it is small:
        many members of a group share it."""
        cdef Py_ssize_t count = PyBytes_GET_SIZE(owner) - start
        if count < SMALL and (start or self.first < self.last):
            return self.copy(PyBytes_AS_STRING(owner) + start, count)
        self._add(owner, start, start + count, False)
        self.size += count
        if count >= SMALL:
            self.largest = max(self.largest, count)
        return 0

    cdef int vectors(self, iovec *vectors, int most, Py_ssize_t *offered) noexcept:
        """Set the vectors of sendmsg(2), and the bytes offered; returns their number."""
        cdef int count = min(most, self.last - self.first), i
        cdef Piece *piece
        offered[0] = 0
        for i in range(count):
            piece = self.pieces + self.first + i
            vectors[i].iov_base = PyBytes_AS_STRING(<object> piece.owner) + piece.start
            vectors[i].iov_len = piece.stop - piece.start
            offered[0] += piece.stop - piece.start
        return count

    cdef void advance(self, Py_ssize_t count) noexcept:
        """``count`` bytes more were sent."""
        cdef Piece *piece
        self.size -= count
        while self.first < self.last:
            piece = self.pieces + self.first
            if count < piece.stop - piece.start:
                piece.start += count
                return
            count -= piece.stop - piece.start
            self.first += 1
            Py_DECREF(<object> piece.owner)

    cdef int _add(self, bytes owner, Py_ssize_t start, Py_ssize_t stop, bint ours) except -1:
        if self.last == self.room:
            self._make_room()
        self.pieces[self.last] = Piece(<PyObject *> owner, start, stop, ours)
        Py_INCREF(owner)
        self.last += 1
        return 0

    cdef int _make_room(self) except -1:
        cdef int count = self.last - self.first
        if self.first > self.room // 2:  # much space in front is free
            memmove(self.pieces, self.pieces + self.first, count * sizeof(Piece))
        else:
            pieces = <Piece *> PyMem_Realloc(self.pieces, max(4, 2 * self.room) * sizeof(Piece))
            if pieces is NULL:
                raise MemoryError
            self.pieces, self.room = pieces, max(4, 2 * self.room)
            memmove(self.pieces, self.pieces + self.first, count * sizeof(Piece))
        self.first, self.last = 0, count
        return 0


cdef inline Py_ssize_t _room(Piece *piece):
    """Bytes that can still be written behind it."""
    return PyBytes_GET_SIZE(<object> piece.owner) - piece.stop
