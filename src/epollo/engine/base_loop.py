"""What every loop does once a connection, a sweep or a turn: listeners, calls, deadlines, closes.

An engine's loop inherits `BaseLoop` and adds the turn itself, `poll`, and the sources it watches.
"""

from __future__ import annotations

import logging
import math
import socket
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import length_hint
from typing import Any, ClassVar, NoReturn, cast

from epollo.engine import forking
from epollo.engine.connection import BaseConnection
from epollo.engine.deadlines import end_overdue
from epollo.engine.delayed_calls import DelayedCall, cancel_calls
from epollo.engine.events import READ
from epollo.engine.forking import attempt, replace_descriptors, replace_epoll
from epollo.engine.held_back import HeldRead
from epollo.engine.idle_timeouts import TICK_SECONDS, IdleTimeouts
from epollo.engine.interface import Bounds, ConnectionProtocol, EventSource
from epollo.engine.listener import Listener
from epollo.engine.owning import wake_writers
from epollo.engine.pushes import Pushes
from epollo.engine.replies import Replies
from epollo.engine.stages import ConnectionStage, Handshake, drop_unacknowledged
from epollo.engine.survey import CAUSES, Survey
from epollo.engine.timers import Timer, Timers
from epollo.engine.wakeup import Alarm, Wakeup
from epollo.errors import EngineMissing
from epollo.reasons import CloseReason

_OWN_SOURCES = (Listener, Wakeup, Alarm)  # all but connections; others belong to their makers

# What one turn does at most, so that a storm of the same keeps no other peer waiting: it takes some
# milliseconds, then the loop looks for new events.
MOST_OTHERS = 32  # events other than messages: ends, handshakes, accepts; as many again as messages
MOST_CALLS = 256  # due timers; and as many calls of other threads
MOST_FLUSHED = 1024  # connections
MOST_ENDED = 64  # connections, told of their end, or ended by a deadline

_OUTPUT_LOST = (CloseReason.SLOW_CONSUMER, CloseReason.MEMORY)

_log = logging.getLogger("epollo.engine")


class BaseLoop(ABC):
    """The part of a loop that no message passes through."""

    # What the engine adds:
    name: ClassVar[str]
    _new_listener: ClassVar[type[Listener]] = Listener
    _new_connection: ClassVar[type[Any]]

    thread: int | None  # the one that is, or was last, in `poll`
    tick: int  # counts the sweeps; connections keep it in place of a time
    late_after: float  # seconds that a turn may take, without its wait, before `on_late` is told
    turn_count: int  # turns that were timed, as they are if ``late_after`` is finite
    turn_seconds: float  # what they took
    served_seconds: float  # for events of open connections, if ``slow_after`` is finite
    read_messages: int  # those of this event, or the last, that have been delivered in it
    dropped: dict[BaseConnection, int]  # bytes unsent at their end, of those that had some
    undelivered: int  # messages that were held back, and then dropped
    pauses: dict[int, int]  # how often a connection began to be paused, by cause
    slow_after: float  # seconds that one event may take before `on_slow` is told
    waiting: bool  # in `poll`, for the kernel
    polling: bool  # in `poll`, after that
    dispatching: bool  # giving sources their events
    to_flush: list[Any]  # connections to flush and update when the turn ends
    _to_close: list[Any]  # connections closed in this turn
    replies: dict[BaseConnection, Replies]  # those that are not queued whole
    held_reads: dict[BaseConnection, HeldRead]  # of what they hold back
    delayed_calls: dict[Any, set[DelayedCall]]  # by what they belong to
    writers: dict[BaseConnection, set[Any]]  # futures of coroutines in `writable`
    idle_timeouts: IdleTimeouts
    tick_seconds: float  # from one sweep to the next; 0 if there are none
    _pushes: Pushes
    _timers: Timers
    _call_queue: deque[Callable[[], object]]
    _context: Any  # of the protocol attached last
    _wakeup: Wakeup
    _alarm: Alarm | None  # if the loop is a descriptor in another one
    _stopping: bool
    _closed: bool
    _serves: bool  # this process is to serve, though there was no turn yet
    _inherited: bool  # this process was forked from the loop's own, and has given it up
    _exit: BaseException | None  # to be raised when the turn is over

    def __init__(self) -> None:
        self.thread = None
        self.waiting = self.polling = self.dispatching = False
        self.tick = 0
        self.slow_after = math.inf
        self.late_after = math.inf
        self.dropped = {}
        self.pauses = dict.fromkeys(CAUSES, 0)
        self.turn_count = self.undelivered = self.read_messages = 0
        self.turn_seconds = self.served_seconds = 0.0
        self.crossing_seconds: float = 0.0
        self.on_slow: Callable[[BaseConnection, float], object] = _ignore
        self.on_late: Callable[[float], object] = _ignore
        self.on_error: Callable[[BaseException, str], object] = _log_error
        self.to_flush = []
        self._to_close = []
        self._timers = Timers()
        self._call_queue = deque()
        self.replies = {}
        self.held_reads = {}
        self.delayed_calls = {}
        self.writers = {}
        self.idle_timeouts = IdleTimeouts()
        self.tick_seconds = 0.0
        self.on_ticks_needed: Callable[[], object] | None = None
        self._pushes = Pushes(self)
        self._context = None
        self._alarm = None
        self._stopping = self._closed = self._serves = self._inherited = False
        self._exit = None
        self._watch_wakeup()
        forking.LOOPS.add(self)

    # ---- What the engine adds

    @abstractmethod
    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""

    @abstractmethod
    def watch(self, fd: int, source: EventSource, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""

    @abstractmethod
    def disable(self, fd: int) -> None:
        """Keep ``fd``, but report no event of it until it is watched again."""

    @abstractmethod
    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; its owner closes it."""

    @abstractmethod
    def source_of(self, fd: int) -> EventSource | None:
        """The source that is watched at ``fd``, or disabled."""

    @abstractmethod
    def sources(self) -> list[EventSource]:
        """All that are watched, or disabled."""

    @abstractmethod
    def sweep(self, bounds: Bounds) -> list[tuple[BaseConnection, CloseReason]]:
        """The next tick: the connections over one of the ``bounds``, and which. An engine may look
        at some of them only, and at the others in turns that follow, and end those itself."""

    @abstractmethod
    def limit_growth(self, limit: int, tell: Callable[[], object]) -> None:
        """Call ``tell`` each time that connections were given ``limit`` bytes more to hold."""

    @abstractmethod
    def _new_context(self, protocol: ConnectionProtocol) -> Any: ...

    @abstractmethod
    def _descriptor(self) -> int:
        """The poller's own descriptor. Raises EngineMissing if it has none."""

    @abstractmethod
    def _close_poller(self) -> None: ...

    def _watch_wakeup(self) -> None:
        self._wakeup = Wakeup()
        self.watch(self._wakeup.receiver.fileno(), self._wakeup, READ)

    # ---- Running

    def begin(self) -> None:
        """This process is to serve: one that is forked from now on gives the loop up, and one that
        was forked before may serve as well."""
        self._serves = True

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping:
            self.poll()
        self._stopping = False

    def stop(self) -> None:
        """End `run` after the present turn."""
        self._stopping = True

    def close(self) -> None:
        """Abort every connection, close every listener and descriptor."""
        self._closed = True
        self.thread = None  # whichever thread closes it may do so
        for source in self.sources():
            source.abort()
        while self._to_close:
            self._close_scheduled()
        self.to_flush.clear()
        self._context = None
        self.on_ticks_needed = None
        for owner in tuple(self.delayed_calls):
            cancel_calls(self, owner)
        self.idle_timeouts.clear()
        self._timers.clear()
        self._call_queue.clear()
        self._pushes.clear()
        self._alarm = None
        self._close_poller()
        if self._exit is not None and not self._inherited:
            self._raise_exit()

    @property
    def inherited(self) -> bool:
        """Was this process forked from the loop's own, after `begin` or the first turn? Then the
        loop serves nobody here."""
        return self._inherited

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def used(self) -> bool:
        """Does this process serve with it, or has it something that only one process can use?"""
        if self._serves or self.thread is not None:
            return True
        return not all(isinstance(source, _OWN_SOURCES) for source in self.sources())

    def renew(self) -> None:
        """This process was forked before the loop was used: wait for the same listeners with
        descriptors of its own, whatever becomes of the loop in the parent."""
        self._wakeup.renew()
        if self._alarm is not None:
            self._alarm.renew()
        own = [source for source in self.sources() if isinstance(source, _OWN_SOURCES)]
        self._replace_epoll([source.descriptors()[0] for source in own])

    def give_up(self) -> None:
        """This process was forked from the loop's own: leave all that it serves to that one. No
        hook is called. The present turn, if a handler has forked in it, ends with an error. Then
        call `replace_inherited`."""
        self._inherited = True
        self._timers.clear()
        self._call_queue.clear()
        self.to_flush.clear()
        self._to_close.clear()
        self.replies.clear()
        self.held_reads.clear()
        self.delayed_calls.clear()
        self.writers.clear()
        self.idle_timeouts.clear()
        self.dropped.clear()
        self._pushes = Pushes(self)  # another thread may have held the lock of the present one
        self._exit = RuntimeError(
            "a handler forked this process and returned in it; end it with os._exit"
        )
        for connection in self.all_connections():
            attempt(connection.discard)
            attempt(connection.abandon)

    def replace_inherited(self) -> None:
        """The rest of `give_up`: all descriptors but those of connections."""
        for source in self.sources():
            if isinstance(source, _OWN_SOURCES):
                try:
                    replace_descriptors(source.descriptors())
                except OSError:  # none is free: now one is
                    attempt(source.abort)
        self._replace_epoll()

    def _replace_epoll(self, watched: Sequence[int] = ()) -> None:
        try:
            replace_epoll(self._descriptor(), watched)
        except EngineMissing:  # poll(2) and select(2) have nothing in the kernel
            pass

    def fileno(self) -> int:
        """A descriptor that is readable when ``poll(0)`` has work: the whole engine is one
        descriptor in another loop. Raises EngineMissing for a poller without a descriptor."""
        self._check_open()
        descriptor = self._descriptor()
        if self._alarm is None:
            self._alarm = Alarm(lambda: self._timers.next)
            self.watch(self._alarm.fd, self._alarm, READ)
            self._alarm.set(self._timers.next)
            if self.to_flush or self._to_close:
                self._wakeup.wake()
        return descriptor

    @property
    def wakeup_fd(self) -> int:
        """For signal.set_wakeup_fd: a signal that comes just before the loop waits wakes it."""
        return self._wakeup.sender.fileno()

    def _refuse_turn(self) -> NoReturn:
        self._check_open()
        raise RuntimeError(
            "poll was called by a handler, a signal handler or another thread while a turn of the "
            "loop is not over"
        )

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the loop is closed")

    # ---- Sockets

    def listen(
        self,
        listener: socket.socket,
        accept: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
    ) -> Listener:
        """Give each new connection to ``accept``, and errors of accepting to ``failed``. Returns an
        object whose `Listener.accept` does not wait for the loop."""
        self._check_open()
        listener.setblocking(False)
        source = self._new_listener(listener, accept, failed, self.report)
        self.watch(listener.fileno(), source, READ)
        return source

    def unlisten(self, listener: socket.socket) -> None:
        """Accept no more from ``listener``, and close it."""
        self.unwatch(listener.fileno())
        listener.close()

    def attach(self, sock: socket.socket, protocol: ConnectionProtocol) -> BaseConnection:
        """Serve ``sock``, connected or with its connect under way; the loop owns it from here.

        Raises PollerFull, with ``sock`` closed, if the poller cannot watch its descriptor.
        """
        if self._closed or sock.gettimeout() != 0:
            self._make_ready(sock)
        if self._context is None or self._context.protocol is not protocol:
            self._context = self._new_context(protocol)
        connection: BaseConnection = self._new_connection(self._context, sock)
        try:
            connection.start()
        except BaseException:
            self._leave_stage(connection.fd)
            self.unwatch(connection.fd)
            connection.abandon()
            raise
        return connection

    def _make_ready(self, sock: socket.socket) -> None:
        try:
            self._check_open()
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise

    def connections(self) -> list[BaseConnection]:
        """All that were established and are not yet closed.

        In any thread: an engine copies its sources in one step, under the interpreter's lock.
        """
        return [each for each in self.all_connections() if each.established]

    def newcomers(self) -> list[BaseConnection]:
        """All that are not yet established, or failed to be."""
        return [each for each in self.all_connections() if not each.established]

    def advance_newcomers(self) -> bool:
        """Read what handshakes have received until now, and abort those that have received nothing.
        Returns whether any newcomer is left."""
        left = False
        for connection in self.newcomers():
            stage = self.source_of(connection.fd)
            try:
                if isinstance(stage, Handshake):
                    stage.ready(READ)
            except BaseException as error:
                self.source_failed(stage, error)
            if isinstance(stage, Handshake) and stage.received_any:
                left = left or not (connection.established or connection.closed)
            else:
                connection.drop(CloseReason.SHUTDOWN)
        return left

    def all_connections(self) -> list[BaseConnection]:
        """Both. In any thread."""
        found = [connection_of(source) for source in self.sources()]
        return [each for each in found if each is not None]

    def survey(self, sources: Sequence[EventSource], found: Survey) -> None:
        """Add to ``found`` what the connections among ``sources`` have and hold."""
        connections = map(connection_of, sources)
        found.look_at(each for each in connections if each is not None)

    # ---- The end of a turn

    def schedule_flush(self, connection: BaseConnection) -> None:
        """Flush ``connection``, and update its state, when the turn ends."""
        self.to_flush.append(connection)
        if not self.polling:
            self._wake()

    def schedule_close(self, connection: BaseConnection, abort: bool) -> None:
        """Disable it now; close the descriptor, and call ``closed``, at the end of the turn. With
        ``abort``, the kernel drops what the peer has not taken."""
        if abort and not self._inherited:
            lost = connection.reason in _OUTPUT_LOST  # what the kernel never had
            drop_unacknowledged(connection.socket, lost)
        fd = connection.fd
        if self.source_of(fd) is not connection:
            self._leave_stage(fd)
        self.disable(fd)
        if connection in self.idle_timeouts.seconds:
            self.idle_timeouts.forget(connection)
        if connection in self.delayed_calls:
            cancel_calls(self, connection)
        if connection in self.writers:
            wake_writers(self.writers.pop(connection))
        self._to_close.append(connection)
        if not self.polling:
            self._wake()

    def _leave_stage(self, fd: int) -> None:
        source = self.source_of(fd)
        if isinstance(source, ConnectionStage):
            source.leave()

    def _close_scheduled(self) -> None:
        closing, self._to_close = deque(self._to_close), []
        try:
            for _ in range(min(MOST_ENDED, len(closing))):
                connection = closing.popleft()
                self.unwatch(connection.fd)
                connection.release()
                self._tell_closed(connection)
        finally:
            self._to_close[:0] = closing

    @property
    def _is_last_turn(self) -> bool:
        """Will there be no other one that could do what this one leaves?"""
        return self._stopping or self._exit is not None

    def _tell_closed(self, connection: BaseConnection) -> None:
        if self._inherited:  # the parent does
            return
        reason = connection.reason
        assert reason is not None
        try:
            connection.context.protocol.closed(connection, reason)
        except BaseException as error:
            self.report(error, "the handler raised in disconnected")
        # Its traceback holds frames that hold the connection: a cycle for the garbage collector.
        connection.error = None
        if self.dropped:
            self.dropped.pop(connection, None)

    def _wake(self) -> None:
        """Wake the loop for work made outside a turn, or by a signal handler while it waits."""
        if self.waiting or self._alarm is not None:
            self._wakeup.wake()

    # ---- Deadlines

    @property
    def not_begun(self) -> int:
        """What a connection keeps as the tick at which a frame began, or its peer last took bytes,
        while no frame has begun or nothing is left to be taken."""
        return self.tick

    def enforce(self, bounds: Bounds) -> None:
        """The next tick: end the connections that are over one of the ``bounds``; many of them, or
        what a sweep in parts finds later, in turns that follow. Those past the write timeout are
        dropped; the output of the others is still sent."""
        found = deque(each for each, _ in self.sweep(bounds))
        if self.idle_timeouts.seconds:
            found += self.idle_timeouts.due(self.tick)
        self._end_overdue(found, bounds)

    def start_ticks(self) -> None:
        """Have `enforce` called from now on, by `on_ticks_needed` if it is set, or else here."""
        if self.on_ticks_needed is not None:
            self.on_ticks_needed()
        elif not self.tick_seconds:
            self.tick_seconds = TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        self.call_later(self.tick_seconds, self._tick)
        self.enforce(Bounds())

    def _end_overdue(self, found: deque[BaseConnection], bounds: Bounds) -> None:
        """End the first of them, and the others in later turns, if they are still overdue then."""
        end_overdue(found, bounds, MOST_ENDED)
        if found:
            self.call_threadsafe(lambda: self._end_overdue(found, bounds))

    def _tell_slow(self, source: EventSource, seconds: float) -> None:
        connection = connection_of(source)
        if connection is not None:
            self.on_slow(connection, seconds)

    def serve_held_back(self, connection: BaseConnection, messages: Iterable[bytes]) -> int | None:
        """Deliver messages that were held back, and time that as an event is timed. Returns how
        many are left if delivery was paused before the end."""
        if self.slow_after == math.inf:
            return connection.serve(messages)
        before, count = time.monotonic(), length_hint(messages)
        self.read_messages = 0
        left = connection.serve(messages)
        self.read_messages += count - (left or 0)
        seconds = time.monotonic() - before
        self.served_seconds += seconds
        if seconds > self.slow_after:
            self._tell_slow(connection, seconds)
        self.read_messages += left or 0  # which `hold_back` subtracts
        return left

    # ---- Calls: at their time, or for another thread

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the loop's thread, ``seconds`` from now."""
        timer = self._timers.add(seconds, callback)
        self._set_alarm()
        return timer

    def time(self) -> float:
        """What `call_later` counts by: time.monotonic(), unless a test controls it."""
        return self._timers.now()

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` in the loop's thread, soon. From any thread or signal handler."""
        self._call_queue.append(callback)
        self._wakeup.wake()

    def calls_last(self, callback: Callable[[], object]) -> bool:
        """Is ``callback`` still to be called, and the last of all? From any thread."""
        try:
            return self._call_queue[-1] is callback
        except IndexError:
            return False

    def push_threadsafe(
        self, connection: BaseConnection, frame: bytes, context: object = None
    ) -> bool:
        """Queue ``frame`` on ``connection``, from another thread than the loop's. False if it takes
        no more: it is closed, or it is closed as slow_consumer because of this frame."""
        return self._pushes.add(connection, frame, context)

    def push_all(self, members: tuple[Any, ...], frame: bytes, exclude: object = None) -> None:
        """Queue ``frame`` on each of ``members`` but ``exclude``. In the loop's thread."""
        for member in members:
            if member is not exclude:
                member.push(frame)

    def settle_pushes(self, connection: BaseConnection, change: Callable[[], object]) -> None:
        """Queue what other threads have sent to ``connection``, and make the ``change`` then."""
        self._pushes.settle(connection, change)

    def _make_calls(self) -> None:
        """Make the calls that are due, and those of other threads until now."""
        due: deque[Callable[[], object]] = deque(
            timer.fire for timer in self._timers.due(MOST_CALLS)
        )
        try:
            for _ in range(min(MOST_CALLS, len(self._call_queue))):
                due.append(self._call_queue.popleft())
            while due and not self._inherited:
                try:
                    due.popleft()()
                except BaseException as error:
                    self.report(error, "a callback of the loop raised")
        finally:  # a signal handler has raised: make the other calls in the next turn
            self._call_queue.extendleft(reversed(due))
            if self._call_queue:  # for the next turn
                self._wake()
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.set(self._timers.next)

    # ---- Errors

    def report(self, error: BaseException, what: str) -> None:
        """Tell `on_error` of an error that is no connection's close reason; see also `pass_on`."""
        self.pass_on(error)
        if self._inherited and error is self._exit:  # the process ends, as it means to
            return
        try:
            self.on_error(error, what)
        except BaseException as failure:  # such as of a logging handler of the user's
            traceback.print_exc()
            self.pass_on(failure)

    def pass_on(self, error: BaseException) -> None:
        """Let KeyboardInterrupt and SystemExit leave `poll` at the end of the turn.

        By then the connection that they interrupted is closed and reported, and the replies of all
        others are sent. Every other error that a user's code raises ends here.
        """
        if isinstance(error, KeyboardInterrupt | SystemExit) and (
            self._exit is None or self._inherited
        ):
            self._exit = error
            if not self.polling:
                self._wake()

    def _raise_exit(self) -> NoReturn:
        assert self._exit is not None
        error, self._exit = self._exit, None
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    def source_failed(self, source: EventSource | None, error: BaseException) -> None:
        """An error escaped from ``source``: end its connection, and nothing else.

        A part of what was read or sent may be lost by now, so no later byte of that stream could be
        understood.
        """
        connection = None if source is None else connection_of(source)
        if connection is not None:
            connection.drop(CloseReason.HANDLER_ERROR, error)  # nothing if it is closed already
        if connection is not None and connection.error is error:
            self.pass_on(error)
        else:
            self.report(error, "an event could not be handled")


def connection_of(source: EventSource) -> BaseConnection | None:
    """The connection that ``source`` is, or is a stage of; None if it is something else."""
    if isinstance(source, ConnectionStage):
        return cast(BaseConnection, source.connection)
    return source if isinstance(source, BaseConnection) else None


def _log_error(error: BaseException, what: str) -> None:
    _log.error(what, exc_info=error)


def _ignore(*_: object) -> None:
    pass
