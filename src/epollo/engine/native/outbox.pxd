from posix.uio cimport iovec
from cpython.object cimport PyObject

cdef struct Piece:
    PyObject *owner  # a bytes object
    Py_ssize_t start  # of its unsent part
    Py_ssize_t stop
    bint ours  # made here, so that there may be space behind `stop`


cdef class Outbox:
    cdef Piece *pieces
    cdef int first
    cdef int last
    cdef int room
    cdef Py_ssize_t size  # bytes
    cdef Py_ssize_t largest  # bytes of a frame that may be among them: no smaller one is larger

    cdef int copy(self, const void *data, Py_ssize_t count) except -1
    cdef int refer(self, bytes owner, Py_ssize_t start) except -1
    cdef int vectors(self, iovec *vectors, int most, Py_ssize_t *offered) noexcept
    cdef void advance(self, Py_ssize_t count) noexcept
    cdef int _make_room(self) except -1
    cdef int _add(self, bytes owner, Py_ssize_t start, Py_ssize_t stop, bint ours) except -1
