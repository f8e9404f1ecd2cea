from cpython.object cimport PyObject

from epollo.engine.native.protocol cimport Reader
from epollo.engine.native.formats cimport Rule
from epollo.engine.native.turn cimport Turn

# With room before the arguments, for the object that a bound method is bound to (PEP 590).
ctypedef object (*Vectorcall)(object callable, PyObject **arguments, size_t count, PyObject *names)


cdef class Plan:
    cdef Turn turn
    cdef object received
    cdef Vectorcall call  # how it is called
    cdef readonly object loop
    cdef readonly object protocol
    cdef readonly object encode
    cdef readonly object filters
    cdef Rule rule
    cdef Reader reader  # the protocol itself, where it is one; or None
