"""The loop: wait for the kernel to say which sockets are ready, serve those, wait again.

`engine/python/loop.py` once more, with epoll_wait(2) itself for a poller.
"""

import os

from cython cimport final
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EBADF, EINTR, errno
from libc.limits cimport INT_MAX
from libc.math cimport INFINITY, ceil
from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from posix.unistd cimport close

from epollo.engine.native.attempts cimport raise_set
from epollo.engine.native.clock cimport monotonic
from epollo.engine.native.connection cimport ConnectionCore
from epollo.engine.native.context cimport LoopBuffers
from epollo.engine.native.kernel cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
)

from epollo.engine import base_loop
from epollo.engine import events as _events
from epollo.engine.base_loop import BaseLoop, connection_of
from epollo.engine.deadlines import overdue
from epollo.engine.native.connection import Connection
from epollo.engine.native.listener import Listener
from epollo.engine.native.context import ConnectionContext
from epollo.engine.next_event import NextEvent
from epollo.errors import EngineMissing

cdef extern from *:
    """
    // No references are taken to a list or to its first timer, as nothing runs meanwhile.
    static inline Py_ssize_t length(PyObject *list) {
        return PyList_GET_SIZE(list);
    }
    static inline double due_time(PyObject *heap) {
        return PyFloat_AS_DOUBLE(PyTuple_GET_ITEM(PyList_GET_ITEM(heap, 0), 0));
    }
    """
    Py_ssize_t length(PyObject *list) noexcept
    double due_time(PyObject *heap) noexcept

cdef enum:
    MOST_EVENTS = 1024  # of one turn
    MOST_FLUSHED = 1024  # of `epollo.engine.base_loop`
    MOST_OTHERS = 32  # the same

assert (MOST_FLUSHED, MOST_OTHERS) == (base_loop.MOST_FLUSHED, base_loop.MOST_OTHERS)

cdef uint32_t READ = _events.READ
cdef uint32_t ENDS = ~READ & ~(<uint32_t> _events.WRITE)  # come, as a rule, with an end
cdef uint32_t PEER_ENDED = _events.PEER_ENDED

cdef object CONNECTION = Connection
cdef object NEXT_EVENT = NextEvent

ctypedef int (*Attempt)(LoopCore, int, bint) noexcept


cdef class LoopCore:
    """The turn itself, and the sources that the loop watches."""

    cdef int _epoll
    cdef int _count  # of the events of the last turn
    cdef int _served  # of them
    cdef int _others  # of those: no messages, and at the front of the events now, to be served last
    cdef unsigned int _rotation  # which of the others comes first, if they are many
    cdef int _current  # the descriptor that is being served
    cdef Py_ssize_t _flushed  # of the connections in `to_flush`
    cdef epoll_event _events[MOST_EVENTS]
    cdef LoopBuffers _buffers
    cdef list _sources  # by descriptor
    cdef set _disabled  # descriptors of those of them that the poller does not watch
    cdef public list _heap  # of the timers, the next one first
    cdef public double slow_after
    cdef public double late_after
    cdef public long long turn_count
    cdef public double turn_seconds
    cdef public double served_seconds
    cdef public bint waiting
    cdef public bint dispatching
    cdef public list _to_close
    cdef public object _call_queue
    cdef public object _exit

    def __cinit__(self, *args, **kwargs):
        self._epoll = -1
        self._sources = []
        self._disabled = set()
        self._buffers = LoopBuffers()
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)

    @property
    def thread(self):
        return self._buffers.thread or None

    @thread.setter
    def thread(self, value):
        self._buffers.thread = value or 0

    @property
    def tick(self):
        return self._buffers.tick

    @tick.setter
    def tick(self, value):
        self._buffers.tick = value

    @property
    def read_messages(self):
        return self._buffers.read

    @read_messages.setter
    def read_messages(self, Py_ssize_t count):
        self._buffers.read = count

    @property
    def polling(self):
        return self._buffers.polling

    @polling.setter
    def polling(self, bint value):
        self._buffers.polling = value

    @property
    def to_flush(self):
        return self._buffers.to_flush

    @to_flush.setter
    def to_flush(self, value):
        self._buffers.to_flush = value

    def poll(self, timeout=None):
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""
        if self.waiting or self._buffers.polling or self.dispatching or self._epoll < 0:
            self._refuse_turn()
        self._buffers.thread = PyThread_get_thread_ident()
        self.waiting = True
        try:
            self._wait(timeout)
        finally:
            self.waiting = False
        self._buffers.polling = True
        cdef double began = monotonic()
        cdef bint more = False
        self._buffers.clock = began
        try:
            self._serve()
            if len(self._call_queue) or self._next_timer() <= self._buffers.clock:
                self._make_calls()
                self._buffers.clock = monotonic()  # a rate counts by it
                more = True
            if length(<PyObject *> self._buffers.to_flush):
                self._flush_scheduled()
                more = True
            if length(<PyObject *> self._to_close):
                self._close_scheduled()
                more = True
            if self.late_after < INFINITY:
                self._end_turn((monotonic() if more else self._buffers.clock) - began)
        finally:
            self._buffers.polling = False
            if length(<PyObject *> self._buffers.to_flush) or length(<PyObject *> self._to_close):
                self._wake()  # left for the next turn
        if self._exit is not None:
            self._raise_exit()
        return self._count

    def watch(self, int fd, source, uint32_t events):
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""
        cdef epoll_event event
        if fd < 0:
            raise OSError(EBADF, os.strerror(EBADF))
        event.events = events | PEER_ENDED if events & READ else events
        event.data.fd = fd
        while length(<PyObject *> self._sources) <= fd:
            self._sources.append(None)
        cdef bint disabled = bool(self._disabled) and fd in self._disabled  # which is often empty
        cdef bint new = disabled or self._sources[fd] is None
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD if new else EPOLL_CTL_MOD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        if disabled:
            self._disabled.remove(fd)
        self._sources[fd] = source

    def disable(self, int fd):
        """Keep ``fd``, but report no event of it until it is watched again."""
        if fd not in self._disabled:
            self._forget_events(fd)
            self._disabled.add(fd)

    def unwatch(self, int fd):
        """Forget ``fd``; its owner closes it."""
        if 0 <= fd < length(<PyObject *> self._sources) and self._sources[fd] is not None:
            if fd in self._disabled:
                self._disabled.remove(fd)
            else:
                self._forget_events(fd)
            self._sources[fd] = None

    def source_of(self, int fd):
        """The source that is watched at ``fd``, or disabled."""
        return self._sources[fd] if 0 <= fd < length(<PyObject *> self._sources) else None

    def sources(self):
        """All that are watched, or disabled."""
        return [source for source in self._sources if source is not None]

    def sweep(self, bounds):
        """The next tick: the connections over one of the ``bounds``, and which."""
        cdef uint32_t idle = bounds.idle
        cdef dict own = self.idle_timeouts.seconds
        self._buffers.tick += 1
        found = []
        for source in self._sources:
            if type(source) is Connection and not (<ConnectionCore> source).well(idle, own):
                reason = overdue(source, bounds)
                if reason is not None:
                    found.append((source, reason))
        return found

    def all_connections(self):
        """Those that are established, and those that are not yet, or failed to be."""
        found = []
        for source in self._sources:
            if type(source) is CONNECTION:
                found.append(source)
            elif source is not None:
                connection = connection_of(source)
                if connection is not None:
                    found.append(connection)
        return found

    def survey(self, list sources not None, found):
        """Add to ``found`` what the connections among ``sources`` have and hold."""
        cdef ConnectionCore each
        cdef long long messages_in = 0, messages_out = 0, bytes_in = 0, bytes_out = 0
        others = []  # all that need a closer look
        for source in sources:
            if type(source) is not CONNECTION:
                if connection_of(source) is not None:
                    others.append(connection_of(source))
                continue
            each = <ConnectionCore> source
            if not each.holds():
                if each.counts is not NULL:
                    messages_in += each.counts.messages_in
                    messages_out += each.counts.messages_out
                    bytes_in += each.counts.bytes_in
                    bytes_out += each.counts.bytes_out
            else:
                others.append(source)
        found.look_at(others)
        found.messages_in += messages_in
        found.messages_out += messages_out
        found.bytes_in += bytes_in
        found.bytes_out += bytes_out

    def push_all(self, tuple members not None, bytes frame not None, exclude=None):
        """Queue ``frame`` on each of ``members`` but ``exclude``."""
        for member in members:
            if member is exclude:
                continue
            if type(member) is CONNECTION:
                (<ConnectionCore> member).push_frame(frame)
            else:
                member.push(frame)

    def limit_growth(self, Py_ssize_t limit, tell):
        """Call ``tell`` each time that connections were given ``limit`` bytes more to hold."""
        self._buffers.grown, self._buffers.growth_limit = 0, limit
        self._buffers.tell_growth = tell

    def _new_context(self, protocol):
        return ConnectionContext(self, self._buffers, protocol)

    def _descriptor(self):
        return self._epoll

    def _close_poller(self):
        self._sources.clear()
        if self._epoll >= 0:
            close(self._epoll)
        self._epoll = -1

    @final
    cdef int _forget_events(self, int fd) except -1:
        if not self._inherited:
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, NULL)
        return 0

    @final
    cdef int _wait(self, timeout) except -1:
        """Ask the kernel what is ready. If something was, the last time, the GIL is kept at first:
        to release it is to hand it to another thread and then wait for it."""
        cdef int milliseconds, most = MOST_EVENTS
        cdef bint busy = self._count > 0
        self._count = epoll_wait(self._epoll, self._events, most, 0) if busy else 0
        if not self._count:
            milliseconds = self._milliseconds(timeout)  # not before: it looks at the clock
            if milliseconds:
                with nogil:
                    self._count = epoll_wait(self._epoll, self._events, most, milliseconds)
            elif not busy:
                self._count = epoll_wait(self._epoll, self._events, most, 0)
        if self._count < 0:
            self._count = 0
            if errno != EINTR:
                raise OSError(errno, os.strerror(errno))
            PyErr_CheckSignals()
        return 0

    @final
    cdef int _milliseconds(self, timeout) except -2:
        """The longest wait: until the next timer, and none with work at hand."""
        cdef double seconds = INFINITY if timeout is None else timeout
        cdef double timer = self._next_timer()
        if length(<PyObject *> self._buffers.to_flush) or length(<PyObject *> self._to_close):
            return 0
        if self._call_queue or self._exit is not None:
            return 0
        if timer < INFINITY:
            seconds = min(seconds, timer - monotonic())
        if seconds == INFINITY:
            return -1
        # Rounded up: half a millisecond rounded down to none would be a busy loop.
        return <int> min(<double> INT_MAX, ceil(max(0.0, seconds) * 1000))

    @final
    cdef inline double _next_timer(self) noexcept:
        cdef PyObject *heap = <PyObject *> self._heap
        return due_time(heap) if length(heap) else INFINITY

    @final
    cdef int _serve(self) except -1:
        """Give each source the events of its descriptor: messages first; then ends, handshakes and
        accepts. See `Loop._in_order` of the Python engine."""
        cdef int most
        self._served = self._others = 0
        self._serve_up_to(self._count, False)
        if self._others and self._exit is None:
            most = MOST_OTHERS + self._count - self._others
            if self._others > most:
                self._rotate(most)
            self._served = 0
            self._serve_up_to(min(self._others, most), True)
        return 0

    @final
    cdef int _serve_up_to(self, int last, bint others) except -1:
        self.dispatching = True
        try:
            while self._served < last:
                if (<Attempt> _serve_remaining)(self, last, others) < 0:
                    self._current_failed()
        finally:
            self.dispatching = False
        return 0

    @final
    cdef int _current_failed(self) except -1:
        try:
            raise_set()
        except BaseException as error:
            self.source_failed(self.source_of(self._current), error)
            self._buffers.clock = monotonic()
        return 0

    @final
    cdef inline int _end_turn(self, double seconds) except -1:
        self.turn_count += 1
        self.turn_seconds += seconds
        if seconds > self.late_after:
            self.on_late(seconds)
        return 0

    @final
    cdef int _rotate(self, int most) except -1:
        """Have the others begin with another one each time: it is the last of a turn that wait."""
        cdef epoll_event waiting[MOST_EVENTS]
        cdef int start = self._rotation % self._others, behind = self._others - start
        memcpy(waiting, self._events, self._others * sizeof(epoll_event))
        memcpy(self._events, waiting + start, behind * sizeof(epoll_event))
        memcpy(self._events + behind, waiting, start * sizeof(epoll_event))
        self._rotation += most
        return 0

    @final
    cdef int _flush_scheduled(self) except -1:
        """Send the output of each, in one send, and update what it waits for."""
        cdef list to_flush = self._buffers.to_flush
        cdef Py_ssize_t last
        self._flushed = 0
        self.dispatching = True
        try:
            while self._flushed < length(<PyObject *> to_flush):
                if self._flushed >= MOST_FLUSHED and not self._is_last_turn:
                    break
                try:
                    self._flush_remaining(to_flush)
                except BaseException as error:
                    last = self._flushed - 1
                    self.source_failed(to_flush[last] if last < len(to_flush) else None, error)
        finally:
            self.dispatching = False
        if self._flushed == length(<PyObject *> to_flush):
            to_flush.clear()
        else:
            del to_flush[:self._flushed]
        return 0

    @final
    cdef int _flush_remaining(self, list to_flush) except -1:
        """The connections that are not flushed yet, up to the next multiple of `MOST_FLUSHED`."""
        cdef ConnectionCore connection
        cdef Py_ssize_t most = (self._flushed // MOST_FLUSHED + 1) * MOST_FLUSHED
        while self._flushed < min(most, length(<PyObject *> to_flush)):  # which may grow meanwhile
            connection = to_flush[self._flushed]
            self._flushed += 1
            connection.flush()
            if connection.outbox is None and (
                not connection.update_due
                or (type(connection) is CONNECTION and connection.only_reads())
            ):
                continue
            connection.update_state()
        return 0


class Loop(LoopCore, BaseLoop):
    """One thread's loop over any number of sockets."""

    name = "native"
    poller_name = "epoll"
    _new_listener = Listener
    _new_connection = Connection

    def __init__(self, poller="auto"):
        if poller not in ("auto", "epoll"):
            raise EngineMissing(
                f"the native engine polls with epoll, not {poller}; use --engine python"
            )
        super().__init__()
        self._heap = self._timers.heap


cdef int _serve_remaining(LoopCore self, int last, bint others) except -1:
    """The events that are not served yet: messages only, or, with ``others``, all."""
    cdef int fd
    cdef uint32_t events
    cdef double now, seconds
    while self._served < last and self._exit is None:
        # A source that an earlier one of the batch has closed ignores the event, or is gone.
        # Its descriptor cannot belong to a new connection, which would get events of the
        # old one: it is closed after the batch (`_close_scheduled`). A listener's may, but an
        # event to read does no harm.
        self._current = fd = self._events[self._served].data.fd
        events = self._events[self._served].events
        self._served += 1
        source = self._sources[fd] if fd < length(<PyObject *> self._sources) else None
        self._buffers.read = 0
        if type(source) is CONNECTION and (others or not events & ENDS):
            (<ConnectionCore> source).serve_ready(events)
        elif not others and (events & ENDS or type(source) is not NEXT_EVENT):
            self._events[self._others] = self._events[self._served - 1]
            self._others += 1
            continue
        elif source is not None:
            source.ready(events)
        if self.slow_after < INFINITY:
            now = monotonic()
            seconds = now - self._buffers.clock
            self._buffers.clock = now
            if seconds > self.slow_after and source is not None:
                self._tell_slow(source, seconds)
            if type(source) is CONNECTION:
                self.served_seconds += seconds
    if self.slow_after == INFINITY:
        self._buffers.clock = monotonic()
    self._served = last  # the others are reported again: pollers are level-triggered
    return 0
