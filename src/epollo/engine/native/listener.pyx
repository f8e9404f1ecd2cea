"""A listening socket in the loop, accepting with accept4(2) itself."""

import os
import socket

from libc.errno cimport EAGAIN, EINTR, errno
from posix.unistd cimport close

from epollo.engine.native.kernel cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4

from epollo.engine import listener


class Listener(listener.Listener):
    """Accepts sockets that are non-blocking from the start."""

    __slots__ = ("_family",)

    def __init__(self, sock, accept, failed, report):
        super().__init__(sock, accept, failed, report)
        self._family = sock.family

    def next(self):
        """The next connection, or None. Raises OSError as accept(2) does."""
        cdef int fd = accept4(self.socket.fileno(), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0 and (errno == EAGAIN or errno == EINTR):
            return None
        if fd < 0:
            raise OSError(errno, os.strerror(errno))
        try:
            # Not socket.socket, which is this with makefile and the like, made in Python.
            return socket.SocketType(self._family, _KIND, 0, fd)
        except BaseException:  # such as MemoryError, or what a signal handler raises
            close(fd)
            raise


cdef object _KIND = socket.SOCK_STREAM | SOCK_NONBLOCK
