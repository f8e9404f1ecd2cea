"""What the connections of one protocol on one loop have in common."""

from cpython.object cimport PyObject

from epollo.engine.native.protocol cimport Reader
from epollo.engine.native.formats cimport rule_of
from epollo.engine.native.turn cimport Turn

cdef extern from "Python.h":
    Vectorcall PyVectorcall_Function(PyObject *callable)
    object PyObject_Vectorcall(object callable, PyObject **arguments, size_t count, PyObject *names)


cdef class Plan:
    """It is looked up once here, not for each of them."""

    def __init__(self, loop, Turn turn, protocol):
        self.loop = loop
        self.turn = turn
        self.protocol = protocol
        self.received = protocol.received
        # By what it is called best. That is asked once, not for each message.
        self.call = PyVectorcall_Function(<PyObject *> self.received)
        if self.call is NULL:
            self.call = PyObject_Vectorcall
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.rule = rule_of(protocol.framing)
        self.reader = protocol if isinstance(protocol, Reader) else None
