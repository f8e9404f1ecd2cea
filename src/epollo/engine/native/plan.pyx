"""What the connections of one protocol on one loop have in common."""

from epollo.engine.native.rules cimport rule_of
from epollo.engine.native.turn cimport Turn


cdef class Plan:
    """It is looked up once here, not for each of them."""

    def __init__(self, loop, Turn turn, protocol):
        self.loop = loop
        self.turn = turn
        self.protocol = protocol
        self.received = protocol.received
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.rule = rule_of(protocol.framing)
