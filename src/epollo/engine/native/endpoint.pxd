from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.decoder cimport Cutter
from epollo.engine.native.outbox cimport Outbox
from epollo.engine.native.context cimport Plan

cdef enum:
    ADDRESS_SIZE = 28  # sizeof(struct sockaddr_in6)


cdef object os_error(int code)


cdef class Endpoint(Cutter):
    cdef readonly Plan plan
    cdef Outbox outbox
    cdef object _socket
    cdef object _peer
    cdef public object state
    cdef public object reason
    cdef public object error
    cdef public object stage
    cdef public object filter_io
    cdef public object _inbox
    cdef readonly int fd
    cdef public uint32_t heard
    cdef public uint32_t begun
    cdef public uint32_t stuck
    cdef public short _events
    cdef public unsigned short in_flight
    cdef public uint8_t unsettled
    cdef public uint8_t established
    cdef public uint8_t _holding
    cdef public uint8_t _paused
    cdef public uint8_t _flooded
    cdef public uint8_t _sealed
    cdef public uint8_t _failed
    cdef public uint8_t _draining
    cdef uint8_t blocked
    cdef uint8_t lent  # to its Python socket, which closes it
    cdef uint8_t peer_size
    cdef uint8_t peer_address[ADDRESS_SIZE]
