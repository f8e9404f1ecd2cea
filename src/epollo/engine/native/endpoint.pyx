"""The data of a connection, in one struct; and its socket."""

import os
import socket
from sys import byteorder

from cython cimport final
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EBADF, errno
from libc.stdint cimport uint8_t
from libc.string cimport memcpy
from posix.unistd cimport close

from epollo.engine.native.clock cimport monotonic
from epollo.engine.native.context cimport ConnectionContext

from epollo import address
from epollo.engine.connection import NEW_IDS, Stage

cdef extern from "<sys/socket.h>" nogil:
    int AF_INET, AF_INET6
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    int getpeername(int fd, sockaddr *address, socklen_t *size)
    int getsockname(int fd, sockaddr *address, socklen_t *size)

cdef enum:
    LONGEST_ADDRESS = 110  # sizeof(struct sockaddr_un)
    FLOW = 4  # offset of sin6_flowinfo, which nobody asks for
    STAMPS = 10_000  # a second: 40 bits of them are years

cdef uint8_t CONNECTING = Stage.CONNECTING
cdef double _began = monotonic()
cdef Py_ssize_t _live = 0


def live():
    """How many connections there are: for tests that look for leaks."""
    return _live


cdef class Endpoint(StreamDecoder):
    """The data of a connection, and its socket: only a descriptor, as long as that is enough."""

    def __cinit__(self, *args):
        global _live
        _live += 1
        self.fd = -1

    def __dealloc__(self):
        global _live
        _live -= 1
        PyMem_Free(self.counts)
        if self.fd >= 0 and not self.lent:  # its loop was never closed
            close(self.fd)

    def __init__(self, ConnectionContext context, sock):
        cdef unsigned long long stamp
        self.context = context
        self.fd = sock.detach()
        self.stage = CONNECTING
        self.id = next(NEW_IDS)
        if context.counts or context.interval > 0:
            self.counts = <Counts *> PyMem_Calloc(1, sizeof(Counts))
            if self.counts is NULL:
                raise MemoryError
        stamp = <unsigned long long> ((monotonic() - _began) * STAMPS)
        self.since_low, self.since_high = <uint32_t> stamp, <uint8_t> (stamp >> 32)
        self.last_activity = self.frame_started = self.write_progress = context.buffers.tick
        self.held_back = ()

    @property
    def since(self):
        """time.monotonic() of its creation."""
        return _began + <double> (self.since_high * (1ULL << 32) + self.since_low) / STAMPS

    @property
    def messages_in(self):
        return self.counts.messages_in if _counts(self) else 0

    @property
    def messages_out(self):
        return self.counts.messages_out if _counts(self) else 0

    @property
    def bytes_in(self):
        return self.counts.bytes_in if _counts(self) else 0

    @property
    def bytes_out(self):
        return self.counts.bytes_out if _counts(self) else 0

    def count_bytes(self, Py_ssize_t received, Py_ssize_t sent):
        """Count more bytes, if it counts."""
        if self.counts is not NULL:
            self.counts.bytes_in += received
            self.counts.bytes_out += sent

    def count_in(self, Py_ssize_t messages):
        """Count more messages of the peer, if it counts; or fewer."""
        if self.counts is not NULL:
            self.counts.messages_in += messages

    def count_out(self, Py_ssize_t messages):
        """Count more messages for the peer, if it counts."""
        if self.counts is not NULL:
            self.counts.messages_out += messages

    @property
    def socket(self):
        """A Python socket, made when it is first asked for: at most once in a connection's life."""
        if self._socket is None:
            if self.fd < 0:
                raise OSError(EBADF, os.strerror(EBADF))
            self._socket = socket.socket(fileno=self.fd)
            self.lent = True
            self._socket.setblocking(False)  # in spite of socket.setdefaulttimeout
        return self._socket

    @property
    def peer(self):
        """The peer's address; None before the connection is established."""
        if self._peer is None and self.peer_size:
            packed = self.peer_address[:self.peer_size]
            if self.peer_size == PEER_SIZE:
                packed = packed[:FLOW] + bytes(ADDRESS_SIZE - PEER_SIZE) + packed[FLOW:]
            self._peer = str(address.of(_unpacked(packed)))
        return self._peer

    @peer.setter
    def peer(self, value):
        self._peer = value

    def find_peer(self):
        """Remember the peer's address. Raises OSError if not connected."""
        if not self.knows_peer():
            raise os_error(errno)

    @final
    cdef bint knows_peer(self) except -1:
        """The same; false if not connected, with the error in ``errno``."""
        cdef uint8_t full[ADDRESS_SIZE]
        cdef socklen_t size = ADDRESS_SIZE
        cdef unsigned short family
        if getpeername(self.fd, <sockaddr *> full, &size) < 0:
            return False
        memcpy(&family, full, sizeof(family))  # which is not aligned
        if family == AF_INET:
            self.peer_size = size
            memcpy(self.peer_address, full, size)
        elif family == AF_INET6:
            self.peer_size = PEER_SIZE
            memcpy(self.peer_address, full, FLOW)
            memcpy(self.peer_address + FLOW, full + FLOW + 4, PEER_SIZE - FLOW)
        else:  # a path, which may be longer
            self._peer = address.peer_name(self.socket.getpeername())
        return True

    @property
    def sockname(self):
        """This side's address. Raises OSError once closed.

        By one system call: a Python socket made by two threads at once, or while the loop closes
        the descriptor, would close a descriptor that belongs to another socket by then.
        """
        cdef uint8_t ours[LONGEST_ADDRESS]
        cdef socklen_t size = sizeof(ours)
        if getsockname(self.fd, <sockaddr *> ours, &size) < 0:
            raise os_error(errno)
        # The size may be more than was written: a path of 108 bytes has no final zero (unix(7)).
        return str(address.of(_unpacked(ours[:min(size, sizeof(ours))])))

    def release(self):
        """Give the descriptor back to the kernel."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd >= 0:
            close(self.fd)
        self.fd = -1


cdef object _unpacked(bytes packed):
    """The address in a sockaddr, as Python's sockets give it: ip(7), ipv6(7), unix(7)."""
    family = int.from_bytes(packed[:2], byteorder)
    if family == socket.AF_UNIX:
        path = packed[2:]
        return path if path.startswith(b"\0") else path.partition(b"\0")[0]
    port = int.from_bytes(packed[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[4:8]), port
    scope = int.from_bytes(packed[24:28], byteorder)
    return socket.inet_ntop(socket.AF_INET6, packed[8:24]), port, 0, scope


cdef object os_error(int code):
    """The exception for an errno, passed by value: making the exception may run any code."""
    return OSError(code, os.strerror(code))


cdef inline bint _counts(Endpoint self) noexcept:
    """Does it count, not only limit its messages?"""
    return self.counts is not NULL and self.context.counts
