from libc.stdint cimport uint8_t

from epollo.engine.native.formats cimport Found, Rule, Span

cdef struct Stretch:  # of a stream: what has come and is not yet cut
    const uint8_t *data
    Py_ssize_t count
    bint strange  # how it begins is for the framing's own decoder to judge


cdef inline void skip(Stretch *rest, Py_ssize_t count) noexcept:
    rest.data += count
    rest.count -= count


cdef class Partial:
    cdef object judge
    cdef uint8_t *head
    cdef Py_ssize_t held
    cdef Py_ssize_t room
    cdef Py_ssize_t seen
    cdef Span span
    cdef bytes message
    cdef Py_ssize_t filled

    cdef bytes complete(self, Rule rule, Stretch *rest)
    cdef Py_ssize_t wanted(self, uint8_t **place) noexcept
    cdef bytes so_far(self)
    cdef bint _find(self, Rule rule, Stretch *rest) except -1
    cdef int _begin(self, Stretch *rest) except -1
    cdef int _fill(self, const uint8_t *data, Py_ssize_t count) except -1
    cdef int _hold(self, const uint8_t *data, Py_ssize_t count) except -1


cdef class Cutter:
    cdef Partial partial

    cdef bytes next_message(self, Rule rule, Stretch *rest)
    cdef bytes complete(self, Rule rule, Stretch *rest)
    cdef bint keep(self, Found found, Rule rule, Stretch *rest) except -1
    cdef list all_messages(self, Rule rule, Stretch *rest)
    cdef list judge(self, Rule rule, Stretch *rest)
    cdef int check_end(self, Rule rule) except -1


cdef class Decoder(Cutter):
    cdef Rule rule
