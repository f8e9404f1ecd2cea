from epollo.engine.native.rules cimport Rule
from epollo.engine.native.turn cimport Turn


cdef class Plan:
    cdef Turn turn
    cdef object received
    cdef readonly object loop
    cdef readonly object protocol
    cdef readonly object encode
    cdef readonly object filters
    cdef Rule rule
