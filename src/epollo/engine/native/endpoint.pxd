from libc.stdint cimport uint8_t, uint32_t

from epollo.engine.native.decoder cimport StreamDecoder
from epollo.engine.native.outbox cimport Outbox
from epollo.engine.native.context cimport ConnectionContext

cdef enum:
    ADDRESS_SIZE = 28  # sizeof(struct sockaddr_in6)
    PEER_SIZE = 24  # without its flow

cdef struct Counts:  # see `epollo.engine.interface.EngineConnection`
    long long messages_in
    long long messages_out
    long long bytes_in
    long long bytes_out
    double full_at  # when its bucket of messages will be full, if they are limited


cdef object os_error(int code)


cdef class Endpoint(StreamDecoder):
    cdef readonly ConnectionContext context
    cdef Outbox outbox
    cdef object _socket
    cdef object _peer
    cdef public object state
    cdef public object reason
    cdef public object error
    cdef public object filter_io
    cdef public object held_back
    cdef Counts *counts  # NULL if it counts nothing and limits no messages
    cdef readonly unsigned long long id
    cdef readonly int fd
    cdef public uint32_t last_activity
    cdef public uint32_t frame_started
    cdef public uint32_t write_progress
    cdef uint32_t since_low  # of a count of 40 bits, in `STAMPS` a second since the process began
    cdef public short _events
    cdef public unsigned short in_flight
    cdef public uint8_t stage  # a Stage
    cdef public uint8_t paused  # Pause flags
    cdef public uint8_t update_due
    cdef public uint8_t established
    cdef uint8_t blocked  # the kernel took only a part of the last output
    cdef uint8_t lent  # the descriptor belongs to the Python socket, which closes it
    cdef uint8_t since_high
    cdef uint8_t peer_size  # 0: not known, or a path
    cdef uint8_t peer_address[PEER_SIZE]

    cdef bint knows_peer(self) except -1
