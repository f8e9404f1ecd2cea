"""One connection: bytes in, messages to the handler, replies out. The work per message."""

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_REFCNT
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.uio cimport iovec

from epollo.engine.native.attempts cimport raise_set
from epollo.engine.native.clock cimport monotonic
from epollo.engine.native.decoder cimport Cursor, skip
from epollo.engine.native.endpoint cimport os_error
from epollo.engine.native.context cimport ConnectionContext
from epollo.engine.native.formats.base cimport (
    LONGEST_HEADER,
    WHOLE,
    Envelope,
    Found,
    FrameFormat,
    Span,
    find_frame,
    wrap_message,
)
from epollo.engine.native.formats.sized cimport SizedFormat
from epollo.engine.native.formats.words cimport put_word
from epollo.engine.native.kernel cimport readv, recv
from epollo.engine.native.life cimport Life
from epollo.engine.native.context cimport READ_SIZE, REPLY_SIZE, LoopBuffers

from operator import length_hint

from epollo.engine import events as _events
from epollo.engine import pauses
from epollo.engine.connection import BaseConnection, Stage
from epollo.engine.held_back import HeldRead
from epollo.framing.reframing import rest_of
from epollo.errors import PhaseError
from epollo.reasons import CloseReason

cdef extern from "Python.h":
    """
    static inline void forget_hash(PyObject *bytes) {
        _Py_COMP_DIAG_PUSH
        _Py_COMP_DIAG_IGNORE_DEPR_DECLS
        ((PyBytesObject *) bytes)->ob_shash = -1;
        _Py_COMP_DIAG_POP
    }
    """
    void forget_hash(object message)
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    LARGE = 8 << 10  # bytes; a longer reply is not copied, a longer message is read in place

cdef uint32_t READ = _events.READ
cdef uint32_t WRITE = _events.WRITE
cdef uint8_t PHASE = pauses.PHASE
cdef double RATE_ROUNDING = pauses.RATE_ROUNDING
cdef uint8_t OPEN = Stage.OPEN
cdef uint8_t FLUSHING = Stage.FLUSHING
cdef uint8_t CLOSED = Stage.CLOSED
cdef object RESET = CloseReason.RESET
cdef object NOTHING = ()  # the only empty tuple there is

ctypedef int (*Attempt)(ConnectionCore, Cursor *, bint *) noexcept


cdef class ConnectionCore(Life):
    """The part of a connection that messages pass through."""

    def ready(self, events):
        """The poller reports ``events``; one recv, since other connections wait, too."""
        self.serve_ready(events)

    @final
    cdef int serve_ready(self, uint32_t events) except -1:
        cdef Cursor cursor
        cdef Py_ssize_t count
        # An earlier handler of the same batch may have paused this connection, or closed it; and
        # messages that were held back come before bytes that are still to be read.
        if (
            events != READ or self.paused or self.held_back is not NOTHING
        ) and not self._may_read(events):
            return 0
        if self.filter_io is not None:
            return self._receive_filtered()
        count = self._receive(&cursor)
        if count > 0:
            self.last_activity = self.context.buffers.tick
            try:
                self._consume(&cursor)
            finally:  # a signal handler may have raised: those before that were delivered
                if self.counts is not NULL:
                    self.counts.bytes_in += count
                    self.counts.messages_in += cursor.messages
                    self.context.buffers.read += cursor.messages
        elif count == 0:
            self.end_of_stream()
        elif errno != EAGAIN and errno != EINTR:  # readiness is a hint: select(2), BUGS
            self.drop(RESET, os_error(errno))
        return 0

    @final
    cdef int _receive_filtered(self) except -1:
        cdef uint8_t *input = self.context.buffers.input
        cdef Py_ssize_t count = recv(self.fd, input, READ_SIZE, 0)
        if count >= 0:
            if self.counts is not NULL:
                self.counts.bytes_in += count
            self.last_activity = self.context.buffers.tick
            self.filter_io.receive(self, <bytes> input[:count])
        elif errno != EAGAIN and errno != EINTR:
            self.drop(RESET, os_error(errno))
        return 0

    def feed(self, bytes plain not None):
        """Serve the messages in ``plain``, which a filter gave; keep them while paused."""
        if self.paused & PHASE:
            self.begin_phase(self.partial_bytes)
        cdef Cursor cursor = Cursor(
            <const uint8_t *> PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain), False, 0
        )
        if self.partial is not None:
            self.context.buffers.grown += cursor.count
        try:
            if self.paused:
                self._deliver_held(&cursor)
            else:
                self._consume(&cursor)
        finally:
            if self.counts is not NULL:
                self.counts.messages_in += cursor.messages
                self.context.buffers.read += cursor.messages

    def serve(self, messages):
        """Deliver the messages, in order; send the replies. Returns how many are left if delivery
        was paused before the end, and None if it was not."""
        cdef Py_ssize_t left
        _begin_serving(self, self.context.buffers)
        try:
            left = self._deliver_all(iter(messages))
        finally:
            self.end_serving()
        return None if left < 0 else left

    def use_context(self, ConnectionContext context not None):
        """Encode by another framing from now on, and decode by it once the phase has begun."""
        if self.partial is not None and self.partial.fallback is None:
            self.keep_raw(self.context.format)
        self.context = context

    def settle_output(self):
        """Send what is queued as it is."""
        while self.context.buffers.serving is self and self.context.buffers.used:
            self.send_replies(None, 0)

    def cut(self, bytes data not None):
        """Serve the messages in ``data`` by the framing that holds now, and by the next one if it
        changes again."""
        self.partial = None
        if self.phase_begins(PyBytes_GET_SIZE(data)) and data:
            self.feed(data)

    def send(self, message):
        """Queue one message, from any thread. Raises EncodeError and ConnectionClosed."""
        cdef LoopBuffers buffers = self.context.buffers
        if (
            buffers.serving is self
            and buffers.thread == PyThread_get_thread_ident()
            and type(message) is bytes
            and OPEN <= self.stage < FLUSHING
        ):
            _pack(self, self.context, <bytes> message, False)
        else:
            BaseConnection.send(self, message)

    def queue(self, bytes frame not None):
        """Send ``frame`` when the turn ends, or now, if too much is queued."""
        self.queue_frame(frame)

    def check_eof(self):
        """The stream has ended. Raises FrameTruncated inside a frame."""
        self.check_end(self.context.format)

    def has_partial_frame(self):
        """Has a frame begun that is not complete?"""
        if self.partial is None:
            return False
        return True if self.partial.fallback is None else bool(self.partial.fallback.partial)

    def partial_size(self):
        """Bytes of the incomplete frame."""
        return 0 if self.partial is None else self.partial.size()

    def partial_bytes(self):
        """Those bytes. Raises PhaseError if they are not known."""
        if self.partial is None:
            return b""
        if self.partial.fallback is not None:
            return rest_of(self.context.format.framing, self.partial.fallback.partial_bytes)
        return self.partial.so_far(self.context.format)

    @final
    cdef int push_frame(self, bytes frame) except -1:
        """The same as ``push``."""
        return self.queue_frame(frame) if OPEN <= self.stage < FLUSHING else 0

    @final
    cdef int queue_frame(self, bytes frame) except -1:
        """The same as ``queue``."""
        if self.context.buffers.serving is self:
            return _append(self, self.context, frame, 0, 0)
        if self.counts is not NULL:
            self.counts.messages_out += 1
        self.last_activity = self.context.buffers.tick
        if self.filter_io is not None:
            self.filter_io.send(self, frame)
            return 0
        return self.queue_bytes(frame)

    @final
    cdef bint only_reads(self) noexcept:
        """Does it go on to wait for bytes to read, and for nothing else? Then ``update_state`` is
        done with this."""
        if (
            self.stage != OPEN
            or self.paused
            or <uint32_t> self._events != READ
            or self.reason is not None
            or self.held_back is not NOTHING
            or self.context.buffers.serving is self
        ):
            return False
        self.update_due = False
        self.last_activity = self.context.buffers.tick
        return True

    @final
    cdef bint well(self, uint32_t idle, dict own) except -1:
        """Is it certain, without a closer look, that the peer is not late? Those with an idle
        timeout of their ``own`` are looked at when that can have passed."""
        cdef uint32_t tick = self.context.buffers.tick
        if self.partial is not None or self.outbox is not None:
            return False
        if tick - self.last_activity > idle > 0 and not (own and self in own):
            return False
        if self.filter_io is not None and self.filter_io.filter.partial:
            return False
        self.frame_started = self.write_progress = tick
        return True

    @final
    cdef bint holds(self) noexcept:
        """Is anything in memory for it, in flight, or paused?"""
        return (
            self.outbox is not None
            or self.partial is not None
            or self.held_back is not NOTHING
            or self.in_flight > 0
            or self.paused > 0
            or self.context.buffers.serving is self
        )

    @final
    cdef Py_ssize_t _receive(self, Cursor *cursor) except -2:
        """One recv(2)."""
        cdef uint8_t *input = self.context.buffers.input
        cdef Py_ssize_t count
        if self.partial is not None:
            return self._receive_more(cursor)
        count = recv(self.fd, input, READ_SIZE, 0)
        cursor[0] = Cursor(input, count, False, 0)
        return count

    @final
    cdef Py_ssize_t _receive_more(self, Cursor *cursor) except -2:
        """The same for a partial frame: the bytes of a long message go to their place in it."""
        cdef iovec vectors[2]
        cdef uint8_t *place = NULL
        cdef Py_ssize_t wanted = self.partial.wanted(&place), count
        cdef LoopBuffers buffers = self.context.buffers
        cdef uint8_t *input = buffers.input
        if wanted < LARGE:
            count = recv(self.fd, input, READ_SIZE, 0)
            cursor[0] = Cursor(input, count, False, 0)
            buffers.grown += max(0, count)
            return count
        vectors[0] = iovec(place, wanted)
        vectors[1] = iovec(input, READ_SIZE)
        count = readv(self.fd, vectors, 2)
        if count > 0:
            self.partial.received += min(count, wanted)
            buffers.grown += count
        cursor[0] = Cursor(input, max(0, count - wanted), False, 0)
        return count

    @final
    cdef int _consume(self, Cursor *cursor) except -1:
        """Deliver each message of ``cursor``; send the replies."""
        cdef bint left
        _begin_serving(self, self.context.buffers)
        try:
            if self.context.native is not None:
                left = self._dispatch_native(cursor)
            else:
                left = self._deliver_whole(cursor)
            if left:
                self._deliver_rest(cursor)
        finally:
            self.end_serving()
        return 0

    @final
    cdef int _deliver_rest(self, Cursor *cursor) except -1:
        """Delivery is paused, or a new phase has begun, or the next frame needs the fallback."""
        cdef bytes rest
        cdef bint left = True
        while left:
            if self.paused & PHASE and OPEN <= self.stage < FLUSHING:
                if not self.phase_begins(cursor.count):
                    return 0
                left = True if self.paused else self._deliver_whole(cursor)
            else:
                rest = self._deliver_held(cursor)
                if rest is None:
                    return 0
                cursor.data = <const uint8_t *> PyBytes_AS_STRING(rest)
                cursor.count = PyBytes_GET_SIZE(rest)
                cursor.needs_fallback = False
        return 0

    @final
    cdef bint _deliver_whole(self, Cursor *cursor) except -1:
        """Deliver the messages of ``cursor``, one by one; true if some are left."""
        cdef bint handled = False
        cdef int left = (<Attempt> _deliver_each)(self, cursor, &handled)
        if left >= 0:
            return left
        self._delivery_failed(handled)
        return False

    @final
    cdef int _delivery_failed(self, bint handled) except -1:
        """The handler has raised, or, if not ``handled``, the decoder."""
        try:
            raise_set()
        except BaseException as error:
            if handled:
                self.handler_raised(error)
            else:
                self.bad_stream(error)
        return 0

    @final
    cdef bint _keep_rest(self, Found found, Cursor *cursor) except -1:
        """A frame has begun and is not complete. True if only the fallback can go on."""
        cdef Py_ssize_t count = cursor.count
        if self.keep(found, self.context.format, cursor):
            return True
        self.grow(count)
        return False

    @final
    cdef bint _dispatch_native(self, Cursor *cursor) except -1:
        """The same for a compiled protocol, which needs no object of a whole message."""
        cdef ConnectionContext context = self.context
        if self.partial is not None:
            return self._deliver_whole(cursor)
        context.native.begin_read()
        _dispatch_batch(context, cursor)
        return self._dispatch_native_each(context, cursor) if cursor.count else False

    @final
    cdef bint _dispatch_native_each(self, ConnectionContext context, Cursor *cursor) except -1:
        """One by one, as the first frame was not expected."""
        cdef Span span
        cdef const uint8_t *data
        cdef bytes answer
        try:
            while cursor.count:
                if find_frame(context.format, cursor.data, cursor.count, &span) != WHOLE:
                    return self._deliver_whole(cursor)
                data = cursor.data + span.start
                skip(cursor, span.size)
                answer = context.native.on_message(self, data, span.stop - span.start)
                if answer is not None:
                    _pack(self, context, answer, False)
                if self.paused:
                    return True
                _dispatch_batch(context, cursor)
        except BaseException as error:
            self.handler_raised(error)
        return False

    @final
    cdef uint8_t *place(self, Py_ssize_t size) except? NULL:
        """The place for a message of ``size`` bytes, while this connection is served: behind the
        other replies and its header, which is written here. NULL: send it as an object."""
        cdef LoopBuffers buffers = self.context.buffers
        cdef FrameFormat format = self.context.format
        cdef Envelope envelope
        cdef uint8_t *start
        if size >= LARGE or buffers.serving is not self:
            return NULL
        while buffers.used + size > REPLY_SIZE - 2 * LONGEST_HEADER:  # see `_pack`
            self.send_replies(None, 0)
        start = buffers.output + buffers.used
        if not wrap_message(format, NULL, size, False, start, &envelope):
            return NULL
        start += envelope.header
        memcpy(start + size, format.trailer_data, envelope.trailer)
        buffers.used += envelope.header + size + envelope.trailer
        return start

    @final
    cdef bint begin_writing(self) except -1:
        """From here to `end_serving`, output is gathered for one send, as replies are. False if
        another connection is being served, or this one takes no more."""
        cdef LoopBuffers buffers = self.context.buffers
        if buffers.serving is not None or not OPEN <= self.stage < FLUSHING:
            return False
        _begin_serving(self, self.context.buffers)
        return True

    @final
    cdef int end_serving(self) except -1:
        """Send the replies that were gathered."""
        cdef LoopBuffers buffers = self.context.buffers
        try:
            while buffers.used:  # see `_pack`
                self.send_replies(None, 0)
        finally:
            buffers.serving = None
            if self.counts is not NULL:
                self.counts.messages_out += buffers.replied
                if self.context.most_allowed:
                    _settle_rate(self, buffers)
        return 0

    @final
    cdef int _deliver(self, ConnectionContext context, object message) except -1:
        cdef PyObject *arguments[3]
        arguments[0] = <PyObject *> context.bound
        arguments[1], arguments[2] = <PyObject *> message, <PyObject *> self
        reply = context.call(
            <PyObject *> context.received, arguments + context.first, context.arguments, NULL
        )
        if type(reply) is bytes and not self.paused:
            _pack(self, context, <bytes> reply, reply is message)
        elif reply is not None:
            self.reply(reply)  # by a new framing, if a phase begins
        context.buffers.allowance -= 1
        if context.buffers.allowance <= 0:
            _look_at_rate(self, context.buffers)
        return 0

    @final
    cdef Py_ssize_t _deliver_all(self, object messages) except -2:
        """Deliver those of an iterator; returns how many are left if that was paused, else -1."""
        cdef Py_ssize_t left
        try:
            for message in messages:
                self.frame_started = self.context.buffers.tick
                self._deliver(self.context, message)
                if self.paused:
                    return length_hint(messages)
        except BaseException as error:
            left = length_hint(messages)  # which nobody gets
            self.count_in(-left)
            self.context.buffers.read -= left
            self.handler_raised(error)
        return -1

    @final
    cdef bytes _deliver_held(self, Cursor *cursor):
        """Delivery is paused, or the next frame needs the fallback: decode what is left at once.
        Returns the bytes behind a message with which a new phase begins."""
        if self.stage >= FLUSHING or (cursor.count == 0 and self.partial is None):
            self._pass_on_interrupt()
            return None
        cdef Py_ssize_t count = cursor.count, left
        cdef bytes data = self._read_from(cursor)
        framing = self.context.format.framing
        error = None
        try:
            messages = self.all_messages(self.context.format, cursor)
        except BaseException as raised:  # FrameError, or anything that a user's own decoder raises
            error, messages = raised, getattr(raised, "messages", ())
        cursor.messages += len(messages)
        left = len(messages) if self.paused else self._deliver_all(iter(messages))
        if left < 0:
            if error is not None:
                self.bad_stream(error)
            elif self.has_partial_frame():
                self.grow(count)
            return None
        read = HeldRead(framing, data, error)
        if self.paused & PHASE and OPEN <= self.stage < FLUSHING:
            cursor.messages -= left
            self.partial = None
            try:
                return read.behind(left)
            except PhaseError as unknown:
                self.handler_raised(unknown)
                return None
        self.hold_back(iter(messages[len(messages) - left:]), read)
        if error is None:
            self.grow(count)
        return None

    @final
    cdef int _pass_on_interrupt(self) except -1:
        """Nothing more is decoded: what has interrupted the framing's code is raised here."""
        cdef FrameFormat format = self.context.format
        if format.asks and (<SizedFormat> format).interrupted():
            error, (<SizedFormat> format).raised = (<SizedFormat> format).raised, None
            self.handler_raised(error)
        return 0

    @final
    cdef bytes _read_from(self, Cursor *cursor):
        """The bytes of ``cursor``, behind those of a partial frame; None if that is not known."""
        if self.partial is None:
            return cursor.data[:cursor.count]
        if self.partial.fallback is None:
            return self.partial.so_far(self.context.format) + cursor.data[:cursor.count]
        return None if self.partial.fallback.partial else cursor.data[:cursor.count]

    @final
    cdef bint _may_read(self, uint32_t events) except -1:
        """Handle everything that is not simply bytes to read. May it be read then?"""
        if events & WRITE and self.outbox is not None:
            self.send_outbox()
            self.schedule_update()
        if self.stage == CLOSED or not events & ~WRITE:
            return False
        if not self.paused and self.reason is None:
            return not self.held_back  # which comes first, when the turn ends
        self.on_event_while_paused(events)
        return False


class Connection(ConnectionCore, BaseConnection):
    """A socket in the loop, with the buffers between the kernel and the handler."""

    __slots__ = ()


cdef int _deliver_each(ConnectionCore self, Cursor *cursor, bint *handled) except -1:
    """The part of `_deliver_whole` that may raise. ``handled``: not to decode the next message,
    which may raise MemoryError."""
    cdef ConnectionContext context = self.context
    cdef FrameFormat format = context.format
    cdef Found found
    cdef Span span
    cdef bytes message = None
    if self.partial is not None:
        if self.partial.header is not None:
            return True  # Python code is asked, and may pause delivery: `_deliver_held`
        message = self.complete(format, cursor)
        if message is None:
            self.grow(0)  # `_receive_more` and `feed` have counted
            return cursor.needs_fallback
        # A sweep sets this for every stream without a partial frame. So it is right already,
        # unless earlier reads have begun a frame.
        self.frame_started = context.buffers.tick
        cursor.messages += 1
        handled[0] = True
        self._deliver(context, message)
        if self.paused:
            return True
    while cursor.count:
        handled[0] = False
        found = find_frame(format, cursor.data, cursor.count, &span)
        if self.paused:
            return True  # by Python code that was asked for the size
        if found != WHOLE:
            return self._keep_rest(found, cursor)
        message = _again(message, cursor.data + span.start, span.stop - span.start)
        skip(cursor, span.size)
        cursor.messages += 1
        handled[0] = True
        self._deliver(context, message)
        if self.paused:
            return True
    return False


cdef inline int _begin_serving(ConnectionCore self, LoopBuffers buffers) except -1:
    """From here to `end_serving`, output is gathered, and its messages are counted."""
    buffers.serving = self
    buffers.used = buffers.replied = 0
    if self.context.most_allowed:
        _allow(self, buffers, buffers.clock)
    else:
        buffers.allowance = PY_SSIZE_T_MAX
    return 0


cdef inline void _allow(ConnectionCore self, LoopBuffers buffers, double now) noexcept:
    """Find how many messages may be delivered before the next look at the clock; see
    `epollo.server.rates`. At least one may, as the connection is not paused; and no more than an
    eighth of a full bucket, as a handler may take long, and the bucket fills meanwhile."""
    cdef double taken = self.counts.full_at - now  # seconds of the bucket; below 0: it is full
    if taken <= self.context.most_taken:
        buffers.allowed = self.context.most_allowed
    else:
        buffers.allowed = <Py_ssize_t> max(
            1.0, (self.context.full - taken) / self.context.interval
        )
    buffers.allowance = buffers.allowed


cdef inline void _settle_rate(ConnectionCore self, LoopBuffers buffers) noexcept:
    """Count the messages that were delivered since they were allowed."""
    self.counts.full_at = max(self.counts.full_at, buffers.clock) + (
        buffers.allowed - buffers.allowance
    ) * self.context.interval


cdef int _look_at_rate(ConnectionCore self, LoopBuffers buffers) except -1:
    """All that were allowed are delivered: pause delivery if the next one has to wait."""
    cdef ConnectionContext context = self.context
    if self.counts is NULL or not OPEN <= self.stage < FLUSHING:
        return 0
    _settle_rate(self, buffers)
    buffers.allowed = buffers.allowance
    cdef double now = monotonic()
    cdef double wait = self.counts.full_at + context.interval - context.burst - now
    if wait > RATE_ROUNDING:
        context.protocol.rates.pause(self, wait)
    else:
        self.counts.full_at = max(self.counts.full_at, now)
        _allow(self, buffers, now)
    return 0


cdef inline void _dispatch_batch(ConnectionContext context, Cursor *cursor) noexcept:
    """The frames that the compiled protocol expects, and the answers that it writes."""
    cdef LoopBuffers buffers = context.buffers
    buffers.used += context.native.on_batch(
        cursor, buffers.output + buffers.used, REPLY_SIZE - buffers.used
    )


cdef inline int _pack(
    ConnectionCore self, ConnectionContext context, bytes message, bint again
) except -1:
    """Write the frame that carries ``message`` behind the other replies of this turn. ``again``:
    it is the message that was received."""
    cdef Envelope envelope
    cdef PyObject *format = <PyObject *> context.format  # which keeps it: without a reference
    # To send may run Python (a TLS filter, a signal handler, a finalizer), which may send on the
    # same connection: so look again whether there is space.
    while context.buffers.used > REPLY_SIZE - LONGEST_HEADER:
        self.send_replies(None, 0)
    if wrap_message(
        <FrameFormat> format, <const uint8_t *> PyBytes_AS_STRING(message),
        PyBytes_GET_SIZE(message), again, context.buffers.output + context.buffers.used, &envelope,
    ):
        return _append(self, context, message, envelope.header, envelope.trailer)
    return _pack_encoded(self, context, message)


cdef int _pack_encoded(ConnectionCore self, ConnectionContext context, bytes message) except -1:
    """The same for a frame that the framing itself encodes."""
    return _append(self, context, <bytes?> context.encode(message), 0, 0)


cdef inline int _append(
    ConnectionCore self,
    ConnectionContext context,
    bytes message,
    Py_ssize_t header,
    Py_ssize_t trailer,
) except -1:
    """Add ``message`` to the replies, behind its header, which is written; then its trailer."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message), used = context.buffers.used + header
    context.buffers.replied += 1
    if size >= LARGE or used + size + trailer > REPLY_SIZE:
        context.buffers.used = used
        return self.send_replies(message, trailer)
    memcpy(context.buffers.output + used, PyBytes_AS_STRING(message), size)
    used += size
    if trailer:
        # There is space for a word behind the output: without a call for a few bytes.
        put_word(context.buffers.output + used, context.format.trailer_word)
        if trailer > <Py_ssize_t> sizeof(uint64_t):
            memcpy(context.buffers.output + used, context.format.trailer_data, trailer)
        used += trailer
    context.buffers.used = used
    if self.outbox is not None:
        self.send_replies(None, 0)
    return 0


cdef inline bytes _again(bytes spent, const uint8_t *data, Py_ssize_t size):
    """A message, in the object of the one before if nothing refers to that any more and it is as
    long: to free it, and to be given the same memory again, would take longer."""
    if spent is None or Py_REFCNT(spent) != 1 or PyBytes_GET_SIZE(spent) != size:
        return PyBytes_FromStringAndSize(<const char *> data, size)
    forget_hash(spent)
    memcpy(PyBytes_AS_STRING(spent), data, size)
    return spent
