"""One connection: bytes in, messages to the handler, replies out. What happens per message."""

import os
import socket
from sys import byteorder

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EAGAIN, EINTR, EBADF, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec, readv
from posix.unistd cimport close

from epollo.engine.native.decoder cimport Cutter, Stretch
from epollo.engine.native.outbox cimport Outbox
from epollo.engine.native.rules cimport LONGEST_HEADER, Envelope, Rule, rule_of
from epollo.engine.native.turn cimport READ_SIZE, REPLY_SIZE, Turn

from epollo import address
from epollo.engine import CloseReason, events as _events
from epollo.engine.lifecycle import Lifecycle
from epollo.engine.stage import Stage

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    object PyObject_Vectorcall(object callable, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL, AF_INET, AF_INET6
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int getpeername(int fd, sockaddr *address, socklen_t *size)
    int getsockname(int fd, sockaddr *address, socklen_t *size)

cdef enum:
    LARGE = 8 << 10  # bytes; a reply so long is sent from where it is, a rest read into its place
    VECTORS = 64  # pieces of one sendmsg
    LONGEST_ADDRESS = 110  # sizeof(struct sockaddr_un)

cdef uint32_t READ = _events.READ
cdef uint32_t WRITE = _events.WRITE
cdef object CONNECTING = Stage.CONNECTING
cdef object OPEN = Stage.OPEN
cdef object CLOSED = Stage.CLOSED
cdef object RESET = CloseReason.RESET
cdef object NOTHING = ()  # the only empty tuple there is


cdef class Plan:
    """What the connections of one protocol on one loop have in common."""

    def __init__(self, loop, Turn turn, protocol):
        self.loop = loop
        self.turn = turn
        self.protocol = protocol
        self.received = protocol.received
        self.encode = protocol.framing.encode
        self.filters = getattr(protocol, "filters", None)
        self.rule = rule_of(protocol.framing)


cdef Py_ssize_t _live = 0


def live():
    """How many connections there are: for tests that look for leaks."""
    return _live


cdef class ConnectionCore(Cutter):
    """The part of a connection that messages pass through, and its data."""

    def __cinit__(self, *args):
        global _live
        _live += 1
        self.fd = -1

    def __dealloc__(self):
        global _live
        _live -= 1
        if self.fd >= 0 and not self.lent:  # of a loop that was never closed
            close(self.fd)

    def __init__(self, Plan plan, sock):
        self.plan = plan
        self.fd = sock.detach()
        self.stage = CONNECTING
        self.heard = self.begun = self.stuck = plan.turn.tick
        self._inbox = ()

    @property
    def socket(self):
        """As Python knows it: for what is asked once in a connection's life, if ever."""
        if self._socket is None:
            if self.fd < 0:
                raise OSError(EBADF, os.strerror(EBADF))
            self._socket = socket.socket(fileno=self.fd)
            self.lent = True
            self._socket.setblocking(False)  # where socket.setdefaulttimeout was called
        return self._socket

    @property
    def unsent(self):
        """Bytes that wait to be taken by the kernel."""
        cdef Py_ssize_t size = 0 if self.outbox is None else self.outbox.size
        if self.plan.turn.serving is self:
            size += self.plan.turn.used
        return size

    @property
    def peer(self):
        """The peer's address; None before the connection is established."""
        if self._peer is None and self.peer_size:
            self._peer = str(address.of(_unpacked(self.peer_address[:self.peer_size])))
        return self._peer

    @peer.setter
    def peer(self, value):
        self._peer = value

    def find_peer(self):
        """Remember who the peer is. Raises OSError where not connected."""
        cdef socklen_t size = ADDRESS_SIZE
        cdef unsigned short family
        if getpeername(self.fd, <sockaddr *> self.peer_address, &size) < 0:
            raise OSError(errno, os.strerror(errno))
        memcpy(&family, self.peer_address, sizeof(family))  # which begins at any byte
        if family in (AF_INET, AF_INET6):
            self.peer_size = size
        else:  # a path, which may be longer
            self._peer = str(address.of(self.socket.getpeername()))

    @property
    def sockname(self):
        """This side's address. Raises OSError once closed.

        Asked of the kernel in one step: `socket`, made by two threads at once, or while the loop
        closes the descriptor, would close one that is somebody else's by then.
        """
        cdef uint8_t ours[LONGEST_ADDRESS]
        cdef socklen_t size = sizeof(ours)
        if getsockname(self.fd, <sockaddr *> ours, &size) < 0:
            raise OSError(errno, os.strerror(errno))
        return str(address.of(_unpacked(ours[:size])))

    def check_eof(self):
        """The stream has ended. Raises FrameTruncated where that cuts a frame."""
        self.check_end(self.plan.rule)

    def midway(self):
        """Is a frame begun, and not complete?"""
        if self.partial is None:
            return False
        if self.partial.judge is None:
            return True
        try:
            self.partial.judge.eof()
        except Exception:  # FrameError, or whatever a user's own decoder raises
            return True
        return False

    @final
    cdef bint well(self, uint32_t idle) except -1:
        """Is it plain, without asking more, that the peer is not late with anything?"""
        cdef uint32_t tick = self.plan.turn.tick
        if self.partial is not None or self.outbox is not None or tick - self.heard > idle > 0:
            return False
        self.begun = self.stuck = tick
        return True

    def release(self):
        """Give the descriptor back to the kernel."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd >= 0:
            close(self.fd)
        self.fd = -1

    def ready(self, events):
        """The poller says that there is something; one recv, for the others are waiting too."""
        self.serve_ready(events)

    @final
    cdef int serve_ready(self, uint32_t events) except -1:
        cdef Stretch rest
        cdef Py_ssize_t count
        # An earlier handler of the same batch may have paused this connection, or closed it; and
        # what was held back comes before what is still to be read.
        if (
            events != READ or self._holding or self._inbox is not NOTHING
        ) and not self._may_read(events):
            return 0
        if self.filter is not None:
            return self._receive_filtered()
        count = self._receive(&rest)
        if count > 0:
            self.heard = self.plan.turn.tick
            self._consume(&rest)
        elif count == 0:
            self.end_of_stream()
        elif errno != EAGAIN and errno != EINTR:  # readiness is a hint: select(2), BUGS
            self.drop(RESET, OSError(errno, os.strerror(errno)))
        return 0

    @final
    cdef int _receive_filtered(self) except -1:
        cdef uint8_t *input = self.plan.turn.input
        cdef Py_ssize_t count = recv(self.fd, input, READ_SIZE, 0)
        if count >= 0:
            self.heard = self.plan.turn.tick
            self.filtered(<bytes> input[:count])
        elif errno != EAGAIN and errno != EINTR:
            self.drop(RESET, OSError(errno, os.strerror(errno)))
        return 0

    def feed(self, bytes plain):
        """Serve the messages of what a filter gave; keep them where the handler may hear none."""
        cdef Stretch rest = Stretch(
            <const uint8_t *> PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), False
        )
        if self._holding:
            self._take_rest(&rest)
        else:
            self._consume(&rest)

    def serve(self, messages):
        """Hand the messages to the handler, in order; send what it answers."""
        cdef Turn turn = self.plan.turn
        turn.serving, turn.used = self, 0
        try:
            self._deliver_all(messages)
        finally:
            self._send_replies(None, 0)
            turn.serving = None

    def send(self, message):
        """Queue one message, from any thread. Raises EncodeError and ConnectionClosed."""
        cdef Turn turn = self.plan.turn
        if (
            turn.serving is self
            and turn.thread == PyThread_get_thread_ident()
            and type(message) is bytes
            and self.stage is OPEN
            and not self._sealed
        ):
            self._pack(<bytes> message)
        else:
            Lifecycle.send(self, message)

    @final
    cdef int flush(self) except -1:
        """Offer the kernel all that is queued. It may take a part of it, or nothing."""
        if self.outbox is not None and not self.blocked:
            self._send_outbox()
        return 0

    def transmit(self, bytes data):
        """Send bytes as they are, behind what is queued."""
        if data:
            if self.outbox is None:
                self.outbox = Outbox()
            self.outbox.refer(data, 0)
            self._relieve()

    def queue(self, bytes frame):
        """Send ``frame`` when the turn ends, or now, where too much is queued."""
        if self.plan.turn.serving is self:
            self._append(frame, 0, 0)
            return
        self.heard = self.plan.turn.tick
        if self.filter is not None:
            frame = self.wrap(frame)
            if not frame:
                return
        if self.outbox is None:
            self.outbox = Outbox()
        self.outbox.refer(frame, 0)
        if self.blocked or self.outbox.size > REPLY_SIZE:
            self._relieve()
        self.unsettle()

    def discard(self):
        """Nothing more will be sent: let go of what was to be."""
        self.outbox = None
        self.blocked = False
        if self.plan.turn.serving is self:
            self.plan.turn.used = 0

    @final
    cdef Py_ssize_t _receive(self, Stretch *rest) except -2:
        """One read(2); what is of a long message goes to its place in it."""
        cdef iovec vectors[2]
        cdef uint8_t *place = NULL
        cdef Py_ssize_t wanted = 0, count
        cdef uint8_t *input = self.plan.turn.input
        if self.partial is not None:
            wanted = self.partial.wanted(&place)
        if wanted < LARGE:
            count = recv(self.fd, input, READ_SIZE, 0)
            rest[0] = Stretch(input, count, False)
            return count
        vectors[0] = iovec(place, wanted)
        vectors[1] = iovec(input, READ_SIZE)
        count = readv(self.fd, vectors, 2)
        if count > 0:
            self.partial.filled += min(count, wanted)
        rest[0] = Stretch(input, max(0, count - wanted), False)
        return count

    @final
    cdef int _consume(self, Stretch *rest) except -1:
        """Hand each message of what was read to the handler; send what it answers."""
        cdef Turn turn = self.plan.turn
        turn.serving, turn.used = self, 0
        try:
            if self._deliver_whole(rest):
                self._take_rest(rest)
        finally:
            self._send_replies(None, 0)
            turn.serving = None
        return 0

    @final
    cdef inline bint _deliver_whole(self, Stretch *rest) except -1:
        """The messages of ``rest``, one by one; true where that ended before they did."""
        cdef Rule rule = self.plan.rule
        cdef bytes message
        try:
            while True:
                message = None
                message = self.next_message(rule, rest)
                if message is None:
                    return rest.strange
                self._deliver(message)
                if self._holding:
                    return True
        except Exception as error:
            if message is None:  # MemoryError
                self.bad_stream(error)
            else:
                self.handler_raised(error)
            return False

    @final
    cdef inline int _deliver(self, object message) except -1:
        # With room before them, for the object that a bound method is bound to (PEP 590).
        cdef PyObject *arguments[3]
        self.begun = self.plan.turn.tick
        arguments[0], arguments[1], arguments[2] = NULL, <PyObject *> message, <PyObject *> self
        reply = PyObject_Vectorcall(
            self.plan.received, arguments + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
        )
        if type(reply) is bytes:
            self._pack(<bytes> reply)
        elif reply is not None:
            self.reply(reply)
        return 0

    @final
    cdef int _deliver_all(self, object messages) except -1:
        waiting = iter(messages)
        try:
            for message in waiting:
                self._deliver(message)
                if self._holding:
                    self._hold_back(waiting)
                    break
        except Exception as error:
            self.handler_raised(error)
        return 0

    @final
    cdef int _take_rest(self, Stretch *rest) except -1:
        """The handler is to hear no more for now; or what comes next is no good frame."""
        if self._sealed:
            return 0
        error = None
        try:
            messages = self.all_messages(self.plan.rule, rest)
        except Exception as raised:  # FrameError, or what a user's own decoder chokes on
            error, messages = raised, getattr(raised, "messages", ())
        if self._holding:
            self._hold_back(iter(messages))
        else:
            self._deliver_all(messages)
        if error is not None:
            self.bad_stream(error)
        return 0

    @final
    cdef inline int _pack(self, bytes message) except -1:
        """Write the frame that carries ``message`` behind the other replies of this turn."""
        cdef Turn turn = self.plan.turn
        cdef Envelope envelope
        if turn.used > REPLY_SIZE - LONGEST_HEADER:
            self._send_replies(None, 0)
        if self.plan.rule.wrap(
            <const uint8_t *> PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message),
            turn.output + turn.used, &envelope,
        ):
            return self._append(message, envelope.header, envelope.trailer)
        return self._append(self.plan.encode(message), 0, 0)

    @final
    cdef inline int _append(self, bytes message, Py_ssize_t header, Py_ssize_t trailer) except -1:
        """Add ``message`` to the replies, behind a header that is there, and a trailer to it."""
        cdef Turn turn = self.plan.turn
        cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
        turn.used += header
        if size >= LARGE or turn.used + size + trailer > REPLY_SIZE:
            return self._send_replies(message, trailer)
        memcpy(turn.output + turn.used, PyBytes_AS_STRING(message), size)
        turn.used += size
        if trailer:
            memcpy(turn.output + turn.used, self.plan.rule.trailer_data, trailer)
            turn.used += trailer
        if self.outbox is not None:
            self._send_replies(None, 0)
        return 0

    @final
    cdef int _send_replies(self, bytes last, Py_ssize_t trailer) except -1:
        """Offer the kernel, once, the replies of this turn, and ``last`` behind them."""
        cdef Turn turn = self.plan.turn
        cdef Py_ssize_t sent = 0, size = turn.used
        cdef iovec vectors[3]
        cdef msghdr message
        if last is None and not size:
            return 0
        if self.stage is CLOSED:
            self.discard()
            return 0
        if self.filter is not None:
            return self._send_filtered(last, trailer)
        if self.outbox is not None:
            sent = 0
        elif last is None:
            sent = send(self.fd, turn.output, size, MSG_NOSIGNAL)
        else:
            size += PyBytes_GET_SIZE(last) + trailer
            vectors[0] = iovec(turn.output, turn.used)
            vectors[1] = iovec(PyBytes_AS_STRING(last), PyBytes_GET_SIZE(last))
            vectors[2] = iovec(<void *> self.plan.rule.trailer_data, trailer)
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = 3
            sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
        if sent == size and self.outbox is None:
            turn.used = 0
            return 0
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:  # ECONNRESET, EPIPE: the peer is gone
                self.drop(RESET, OSError(errno, os.strerror(errno)))
                return 0
            sent = 0
        return self._leave_unsent(sent, last, trailer)

    @final
    cdef int _send_filtered(self, bytes last, Py_ssize_t trailer) except -1:
        cdef Turn turn = self.plan.turn
        cdef bytes plain = turn.output[:turn.used]
        turn.used = 0
        if last is not None:
            plain += last + self.plan.rule.trailer_data[:trailer]
        self.transmit(self.wrap(plain))
        return 0

    @final
    cdef int _leave_unsent(self, Py_ssize_t sent, bytes last, Py_ssize_t trailer) except -1:
        """The kernel took the first ``sent`` bytes: queue what is left."""
        cdef Turn turn = self.plan.turn
        cdef Py_ssize_t part
        if self.outbox is None:
            self.outbox = Outbox()
            self.blocked = True
        part = min(sent, turn.used)
        self.outbox.copy(turn.output + part, turn.used - part)
        turn.used = 0
        if last is not None:
            sent -= part
            part = min(sent, PyBytes_GET_SIZE(last))
            self.outbox.refer(last, part)
            self.outbox.copy(self.plan.rule.trailer_data + sent - part, trailer - (sent - part))
        return self._relieve()

    @final
    cdef int _send_outbox(self) except -1:
        cdef iovec vectors[VECTORS]
        cdef msghdr message
        cdef Py_ssize_t sent, offered
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        self.blocked = False
        while self.outbox.size and not self.blocked:
            message.msg_iovlen = self.outbox.vectors(vectors, VECTORS, &offered)
            sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
            if sent < 0 and errno != EAGAIN and errno != EINTR:
                self.drop(RESET, OSError(errno, os.strerror(errno)))
                return 0
            self.blocked = sent < offered
            if sent > 0:
                self.outbox.advance(sent)
                self.stuck = self.plan.turn.tick
        if not self.blocked:
            self.outbox = None
        return 0

    @final
    cdef int _relieve(self) except -1:
        """Much is queued, or the kernel takes no more: send, or mind the marks, now."""
        if self.stage is CLOSED:
            self.discard()
            return 0
        if not self.blocked or self.outbox.size > self.plan.protocol.limits.high_water:
            self._send_outbox()  # a peer that reads meanwhile is not slow
        self.mind_marks()
        self.unsettle()
        return 0

    @final
    cdef bint _may_read(self, uint32_t events) except -1:
        """Attend to what the poller tells besides, or instead of, bytes to read."""
        if events & WRITE and self.outbox is not None:
            self._send_outbox()
            self.unsettle()
        if self.stage is CLOSED or not events & ~WRITE:
            return False
        if not self._holding and self.reason is None:
            return not self._inbox  # which comes first, when the turn ends
        self.put_off(events)
        return False


class Connection(ConnectionCore, Lifecycle):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = ()


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
