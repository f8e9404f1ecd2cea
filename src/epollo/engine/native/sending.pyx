"""Bytes out: one send for the replies of a turn, an outbox for those the kernel did not take."""

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memset
from posix.uio cimport iovec

from epollo.engine.native.endpoint cimport os_error
from epollo.engine.native.kernel cimport MSG_NOSIGNAL, msghdr, send, sendmsg
from epollo.engine.native.outbox cimport Outbox
from epollo.engine.native.context cimport REPLY_SIZE, LoopBuffers

from epollo.engine.connection import Stage
from epollo.reasons import CloseReason

cdef enum:
    VECTORS = 64  # pieces of one sendmsg

cdef uint8_t CLOSED = Stage.CLOSED
cdef object RESET = CloseReason.RESET
cdef object HANDLER_ERROR = CloseReason.HANDLER_ERROR


cdef class Sender(Endpoint):
    """The part of a connection that gives its bytes to the kernel.

    The replies of the connection that is being served are in the loop's one buffer
    (`LoopBuffers.output`), which is free again when they are sent. An outbox is only for the part
    of them that the kernel did not take, and for messages to other connections.
    """

    @property
    def unsent(self):
        """Bytes that wait to be taken by the kernel."""
        cdef Py_ssize_t size = 0 if self.outbox is None else self.outbox.size
        if self.context.buffers.serving is self:
            size += self.context.buffers.used
        return size

    @property
    def largest_unsent(self):
        """Bytes of the largest frame that may be among them, unless that is small."""
        return 0 if self.outbox is None else self.outbox.largest

    def transmit(self, bytes data not None):
        """Send bytes as they are, behind what is queued."""
        if data and self.stage != CLOSED:
            if self.outbox is None:
                self.outbox = Outbox()
            self.outbox.refer(data, 0)
            self.context.buffers.grown += PyBytes_GET_SIZE(data)
            self.relieve()

    def queue_raw(self, bytes data not None):
        """The same, but at the end of the turn, unless this connection is the one being served, or
        too much is queued."""
        self.queue_bytes(data)

    def discard(self):
        """Forget all output."""
        self.outbox = None
        self.blocked = False
        if self.context.buffers.serving is self:
            self.context.buffers.used = 0

    @final
    cdef int queue_bytes(self, bytes data) except -1:
        """The same as ``queue_raw``."""
        cdef Py_ssize_t taken = 0
        if not PyBytes_GET_SIZE(data) or self.stage == CLOSED:
            return 0
        if self.outbox is None and self.context.buffers.serving is self:
            taken = _offer(self, data)
            if taken == PyBytes_GET_SIZE(data) and self.paused:
                self.schedule()
            if taken < 0 or taken == PyBytes_GET_SIZE(data):
                return 0
        if self.outbox is None:
            self.outbox = Outbox()
        self.outbox.refer(data, taken)
        if self.context.buffers.serving is self or self.blocked or self.outbox.size > REPLY_SIZE:
            self.relieve()
        if self.outbox is not None:
            self.grow(PyBytes_GET_SIZE(data))
        return self.schedule()

    @final
    cdef int schedule(self) except -1:
        """See `BaseConnection.schedule_update`."""
        if not self.update_due:
            self.update_due = True
            self.context.buffers.to_flush.append(self)
            if not self.context.buffers.polling:
                self.context.loop._wake()
        return 0

    def schedule_update(self):
        self.schedule()

    @final
    cdef int flush(self) except -1:
        """Offer the kernel everything that is queued. It may take a part, or nothing."""
        if self.outbox is not None and not self.blocked:
            self.send_outbox()
        return 0

    @final
    cdef int send_replies(self, bytes last, Py_ssize_t trailer) except -1:
        """Offer the kernel, once, the replies of this turn, and ``last`` behind them."""
        cdef LoopBuffers buffers = self.context.buffers
        cdef Py_ssize_t sent = 0, size = buffers.used
        cdef iovec vectors[3]
        cdef msghdr message
        if last is None and not size:
            return 0
        if self.stage == CLOSED:
            self.discard()
            return 0
        if self.filter_io is not None:
            return self._send_filtered(last, trailer)
        if self.outbox is not None:
            sent = 0
        elif last is None:
            sent = send(self.fd, buffers.output, size, MSG_NOSIGNAL)
        else:
            size += PyBytes_GET_SIZE(last) + trailer
            vectors[0] = iovec(buffers.output, buffers.used)
            vectors[1] = iovec(PyBytes_AS_STRING(last), PyBytes_GET_SIZE(last))
            vectors[2] = iovec(<void *> self.context.format.trailer_data, trailer)
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = 3
            sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
        if sent > 0 and self.counts is not NULL:
            self.counts.bytes_out += sent
        if sent == size and self.outbox is None:
            buffers.used = 0
            return 0
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:  # ECONNRESET, EPIPE: the peer is gone
                self.drop(RESET, os_error(errno))
                return 0
            sent = 0
        try:
            self._leave_unsent(sent, last, trailer)
        except MemoryError as error:  # the bytes already sent must not be sent again
            self.drop(HANDLER_ERROR, error)
            raise
        return self.relieve()

    @final
    cdef int _send_filtered(self, bytes last, Py_ssize_t trailer) except -1:
        cdef LoopBuffers buffers = self.context.buffers
        cdef bytes plain = buffers.output[:buffers.used]
        if last is not None:
            plain += last + self.context.format.trailer_data[:trailer]
        buffers.used = 0  # not before: without memory for all of it, nothing is lost
        self.filter_io.send(self, plain)
        return 0

    @final
    cdef int _leave_unsent(self, Py_ssize_t sent, bytes last, Py_ssize_t trailer) except -1:
        """The kernel took the first ``sent`` bytes: queue the others."""
        cdef LoopBuffers buffers = self.context.buffers
        cdef Py_ssize_t part
        if self.outbox is None:
            self.outbox = Outbox()
            self.blocked = True
        buffers.grown += buffers.used - sent  # `relieve` looks at the limit
        if last is not None:
            buffers.grown += PyBytes_GET_SIZE(last) + trailer
        part = min(sent, buffers.used)
        self.outbox.copy(buffers.output + part, buffers.used - part)
        buffers.used = 0
        if last is not None:
            sent -= part
            part = min(sent, PyBytes_GET_SIZE(last))
            self.outbox.refer(last, part)
            sent -= part
            self.outbox.copy(self.context.format.trailer_data + sent, trailer - sent)
        return 0

    @final
    cdef int send_outbox(self) except -1:
        cdef iovec vectors[VECTORS]
        cdef msghdr message
        cdef Py_ssize_t sent, offered
        if self.outbox is None:
            return 0
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        self.blocked = False
        while self.outbox.size and not self.blocked:
            message.msg_iovlen = self.outbox.vectors(vectors, VECTORS, &offered)
            if message.msg_iovlen == 1:
                sent = send(self.fd, vectors[0].iov_base, offered, MSG_NOSIGNAL)
            else:
                sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
            if sent < 0 and errno != EAGAIN and errno != EINTR:
                self.drop(RESET, os_error(errno))
                return 0
            self.blocked = sent < offered
            if sent > 0:
                if self.counts is not NULL:
                    self.counts.bytes_out += sent
                self.outbox.advance(sent)
                self.write_progress = self.context.buffers.tick
        if not self.blocked:
            self.outbox = None
        return 0

    @final
    cdef int grow(self, Py_ssize_t count) except -1:
        """It was given ``count`` bytes to hold, at most; see `Growth`."""
        cdef LoopBuffers buffers = self.context.buffers
        buffers.grown += count
        if buffers.grown > buffers.growth_limit:
            buffers.grown = 0
            buffers.tell_growth()
        return 0

    @final
    cdef int relieve(self) except -1:
        """Much is queued, or the kernel takes no more: send, or check the watermarks, now."""
        if self.stage == CLOSED:
            self.discard()
            return 0
        high_water = self.context.protocol.limits.high_water  # a property may run anything
        if self.outbox is not None and (not self.blocked or self.outbox.size > high_water):
            self.send_outbox()  # a peer that reads meanwhile is not slow
        self.check_watermarks()
        self.schedule()
        return self.grow(0)


cdef Py_ssize_t _offer(Sender self, bytes data) except -2:
    """Offer ``data`` to the kernel, once, with nothing queued before it. Returns how much it
    took; -1 if the peer is gone."""
    cdef Py_ssize_t sent = send(
        self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL
    )
    if sent < 0 and errno != EAGAIN and errno != EINTR:  # ECONNRESET, EPIPE
        self.drop(RESET, os_error(errno))
        return -1
    if sent > 0 and self.counts is not NULL:
        self.counts.bytes_out += sent
    self.blocked = sent < PyBytes_GET_SIZE(data)
    return max(0, sent)
