from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.decoder cimport Cutter, Stretch
from epollo.engine.native.outbox cimport Outbox
from epollo.engine.native.rules cimport Rule
from epollo.engine.native.turn cimport Turn

cdef enum:
    ADDRESS_SIZE = 28  # sizeof(struct sockaddr_in6)


cdef class Plan:
    cdef Turn turn
    cdef object received
    cdef readonly object loop
    cdef readonly object protocol
    cdef readonly object encode
    cdef readonly object filters
    cdef Rule rule


cdef class ConnectionCore(Cutter):
    cdef readonly Plan plan
    cdef Outbox outbox
    cdef object _socket
    cdef object _peer
    cdef public object state
    cdef public object reason
    cdef public object error
    cdef public object stage
    cdef public object filter
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
    cdef public uint8_t _draining
    cdef uint8_t blocked
    cdef uint8_t lent  # to its Python socket, which closes it
    cdef uint8_t peer_size
    cdef uint8_t peer_address[ADDRESS_SIZE]

    cdef int serve_ready(self, uint32_t events) except -1
    cdef int flush(self) except -1
    cdef bint well(self, uint32_t idle) except -1
    cdef int _receive_filtered(self) except -1
    cdef int _send_filtered(self, bytes last, Py_ssize_t trailer) except -1
    cdef int _consume(self, Stretch *rest) except -1
    cdef bint _deliver_whole(self, Stretch *rest) except -1
    cdef int _deliver(self, object message) except -1
    cdef int _deliver_all(self, object waiting) except -1
    cdef int _take_rest(self, Stretch *rest) except -1
    cdef int _pack(self, bytes message) except -1
    cdef int _append(self, bytes message, Py_ssize_t header, Py_ssize_t trailer) except -1
    cdef int _send_replies(self, bytes last, Py_ssize_t trailer) except -1
    cdef int _leave_unsent(self, Py_ssize_t sent, bytes last, Py_ssize_t trailer) except -1
    cdef int _send_outbox(self) except -1
    cdef int _relieve(self) except -1
    cdef bint _may_read(self, uint32_t events) except -1
    cdef Py_ssize_t _receive(self, Stretch *rest) except -2
