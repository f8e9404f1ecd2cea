"""The contract of an engine: sockets become messages and replies become bytes, on one loop.

`engine/python` keeps it in code that is easy to read, `engine/native` in code that is fast.
Everything above the engine (server, client, load tester) uses these names only:

    loop.listen(socket, accept, failed)     accept(socket) decides what a new connection is
    loop.attach(socket, protocol)           a Connection, for accepted and outgoing sockets alike
    loop.call_later(seconds, callback)      a Timer
    loop.call_threadsafe(callback)          for other threads, and for signals
    loop.poll(timeout)                      one turn: wait, then serve everything that is ready
    loop.run(), loop.stop(), loop.close()
    loop.fileno()                           the whole engine as one descriptor in another loop
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from epollo.engine.delayed_calls import DelayedCall
from epollo.engine.idle_timeouts import IdleTimeouts
from epollo.engine.survey import Survey
from epollo.engine.timers import Timer
from epollo.filters.base import Filter
from epollo.framing import Buffer, Framing
from epollo.reasons import CloseReason

if TYPE_CHECKING:  # which have it with them; a TypeVar has a default from Python 3.13 on (PEP 696)
    import asyncio

    from typing_extensions import TypeVar

    State = TypeVar("State", default=Any)
else:
    from typing import TypeVar

    State = TypeVar("State")

Result = TypeVar("Result")

Reply: TypeAlias = Buffer | Iterable[Buffer] | None
"""What ``received`` returns: one message, several, or none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection: bytes that are unsent, and messages whose replies are due."""

    high_water: int = 64 << 10  # over it, the peer is no longer read
    max_unsent: int = 16 << 20  # over it, the peer is closed as slow_consumer
    in_flight: int = 1  # messages delivered and not answered; at that number no more are delivered


@dataclass(frozen=True, slots=True)
class Bounds:
    """Timeouts of one connection, in ticks: the sweeps that a peer may take. 0 is no timeout."""

    idle: int = 0  # with no byte either way
    frame: int = 0  # for a frame, from its first byte to its last
    write: int = 0  # to take more of its output


class Connection(Protocol[State]):
    """One connection, as its handler sees it. What it does may be asked for in any thread.

    ``Connection[Player]`` is one whose ``state`` is a ``Player``; of ``Connection`` it is Any.
    """

    state: State  # the user's own; None at first

    @property
    def id(self) -> int:
        """Its number in the log: no other connection of this process has, or had, the same."""

    @property
    def peername(self) -> str:
        """The peer's address as text: ``"192.0.2.1:5000"``, ``"[2001:db8::1]:5000"``,
        ``"unix:/path"``. With a PROXY header, the client's. Kept once closed."""

    @property
    def sockname(self) -> str:
        """This side's address, as text of the same form. Raises OSError once closed."""

    @property
    def unsent(self) -> int:
        """Bytes that wait to be taken by the kernel."""

    @property
    def closed(self) -> bool:
        """Is it over? Nothing more is received or sent; ``disconnected`` was called, or is
        about to be."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS state: ``getpeercert()``, ``selected_alpn_protocol()``; None without TLS, and
        after ``start_tls`` until its handshake is done."""

    @property
    def framing(self) -> Framing:
        """How its messages are framed. A spec, a Framing or a class of one may be assigned, and
        holds from the next byte on: what has come behind the current message is cut by it, and
        what is sent from then on, the reply to that message too, is encoded by it. Raises
        FramingSpecError, ConnectionClosed, and PhaseError while other messages are in flight."""

    @framing.setter
    def framing(self, framing: str | Framing | type[Framing]) -> None: ...
    def start_tls(
        self, context: ssl.SSLContext | None = None, *, timeout: float | None = None
    ) -> None:
        """Begin TLS: what was sent before goes out plain, what is sent from then on waits for the
        handshake, which may take ``timeout`` seconds. Without ``context``, the server's own.

        A peer that had sent more behind the current message is refused, with the reason
        tls_error: it was not encrypted, so anyone could have sent it. Raises SettingError without
        a context, ConnectionClosed, and PhaseError if TLS is in use, or while other messages are
        in flight."""

    @property
    def error(self) -> BaseException | None:
        """The exception that led to the close, if one did; set while ``closed`` is called."""

    @property
    def idle_timeout(self) -> float:
        """Seconds without a byte either way after which it is closed as idle_timeout; 0 is no
        timeout. Counted while it is read and no reply is due. A number of seconds, or text such as
        ``"90s"``, may be assigned, in place of the setting; None is the setting again. Raises
        UsageError. Checked some times a second."""

    @idle_timeout.setter
    def idle_timeout(self, timeout: str | float | None) -> None: ...
    def call_later(
        self, delay: str | float, function: Callable[..., object], *arguments: object
    ) -> DelayedCall:
        """Call ``function(*arguments)`` once, after ``delay``, a number of seconds or text such as
        ``"250ms"``, unless the connection is closed by then. It is called in the thread of the
        event loop; with ``threads``, in a thread of the pool. What it raises closes the connection
        as handler_error, unless it is the ConnectionClosed of one that takes no more. Raises
        UsageError, and ConnectionClosed once closed."""

    def create_task(
        self, coroutine: Coroutine[Any, Any, Result], *, name: str | None = None
    ) -> asyncio.Task[Result]:
        """Run ``coroutine`` in a task, which is cancelled when the connection is closed;
        ``disconnected`` is called when it has ended. It does not keep the connection open. What it
        raises is dealt with as for ``call_later``. For async handlers, in the thread of their event
        loop. Raises UsageError, and ConnectionClosed once closed."""

    async def writable(self) -> None:
        """Wait until the peer has taken so much that at most half of the setting ``high_water`` is
        unsent; until then no more of its messages are read. For async handlers, in the thread of
        their event loop. Raises ConnectionClosed if the connection takes no more messages, and
        UsageError."""

    def send(self, message: Buffer) -> None:
        """Queue one message. Raises EncodeError and ConnectionClosed."""

    def join(self, group: str) -> None:
        """Receive messages that are published to ``group``, until ``leave`` or the close. Raises
        ConnectionClosed, and GroupError if the protocol has no ``groups``."""

    def leave(self, group: str) -> None:
        """Receive no more of them; nothing if it is not in it."""

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in; none once it is closed."""

    def close(self) -> None:
        """Read no more; answer what is being handled, send what is queued, then close."""

    def drain(self) -> None:
        """Read what has arrived, answer it, send the replies, then close."""

    def abort(self, reason: CloseReason = CloseReason.LOCAL) -> None:
        """Close now; what is queued is dropped."""

    def pause_reading(self) -> None:
        """Deliver no message until ``resume_reading``; the kernel's buffers hold the peer back."""

    def resume_reading(self) -> None:
        """Deliver messages again, those that came meanwhile first; nothing if not paused."""


class EngineConnection(Connection[Any], Protocol):
    """A connection as the code above the engine sees it: what no handler may call. In the loop's
    thread."""

    def run_call(self, function: Callable[[], object]) -> None:
        """Call ``function`` of the handler's; what it raises ends the connection."""

    def call_raised(self, error: BaseException) -> None:
        """Such a call, or a task of the handler's, has raised."""

    paused: int
    """Flags of `epollo.engine.pauses.Pause`: no message is delivered unless it is 0."""

    def pause_for(self, cause: int) -> None:
        """Set a flag of ``paused``. A pause that begins is counted."""

    def schedule_update(self) -> None:
        """Look at ``paused`` again when the turn ends."""

    @property
    def busy(self) -> bool:
        """Is something due: a reply, output, or the rest of a frame?"""

    def silence(self, tick_seconds: float) -> float:
        """For how many seconds, at least, no byte has come; infinite if its handler has paused it.
        Without TCP, ticks tell, which take ``tick_seconds`` each."""

    @property
    def buffered(self) -> int:
        """Bytes in memory: unsent ones, an incomplete frame, messages that are held back."""

    since: float
    """time.monotonic() of its creation."""
    messages_in: int
    """Messages that were received whole. This and the next three are 0 unless its protocol
    ``counts``."""
    messages_out: int
    """Messages that were queued for the peer."""
    bytes_in: int
    """Bytes read from the kernel: with headers of frames, TLS handshake and records, and a PROXY
    header."""
    bytes_out: int
    """The same, taken by the kernel."""
    stage: int
    """One of `epollo.engine.connection.Stage`."""
    error: BaseException | None
    """What led to its end."""

    @property
    def loop(self) -> LoopInterface:
        """The one that serves it."""

    @property
    def context(self) -> ConnectionContext:
        """What it has in common with others."""

    def idle(self, tick_seconds: float) -> float:
        """For how many seconds, at least, no byte has come; without TCP as for ``silence``."""

    @property
    def idle_ticks(self) -> int:
        """For how many ticks no byte has come, and none was queued by others."""

    @property
    def established(self) -> bool:
        """Was it ever connected? Then ``connected`` was called."""

    @property
    def in_flight(self) -> int:
        """Places taken by messages that were delivered and whose replies are still due."""

    def defer(self, count: int = 1) -> None:
        """The reply to the current message comes later. It takes ``count`` places in flight; when
        ``Limits.in_flight`` are taken, no further message is delivered."""

    def answer(self, reply: Reply, count: int = 1) -> None:
        """Send the reply to a deferred message, and free its ``count`` places."""

    @property
    def answers(self) -> bool:
        """Are replies to deferred messages still sent? In any thread."""

    def answer_part(self, reply: Reply, done: Callable[[], object]) -> None:
        """Send some messages of such a reply. Calls ``done`` when the peer may be sent more, or
        none will be (`answers`)."""

    def over_max_unsent(self, waiting: int = 0) -> bool:
        """Are too many bytes unsent, with ``waiting`` ones that are to come behind them? One frame,
        the largest, does not count: it may be larger than the limit. In any thread."""

    def fail(self, error: BaseException, count: int = 1) -> None:
        """The handler raised for a deferred message: close the connection."""


class ConnectionProtocol(Protocol):
    """What the loop needs to know of a connection; one object may serve any number of them."""

    @property
    def framing(self) -> Framing:
        """What a message is on the wire. Asked for once a loop, not for each connection."""

    @property
    def limits(self) -> Limits:
        """The bounds of each of its connections."""

    @property
    def received(self) -> Callable[..., Reply]:
        """Called with each message and its connection, in order; what it returns is sent. It is
        called with the message only, if there is an attribute ``wants_connection`` that is False.
        """

    def connected(self, connection: EngineConnection) -> None:
        """Called once when established; never if connecting failed."""

    def closed(self, connection: EngineConnection, reason: CloseReason) -> None:
        """Called exactly once, the last call of all."""


class LeavingProtocol(ConnectionProtocol, Protocol):
    """A protocol whose connections may have a farewell, which no protocol need have."""

    farewells: dict[EngineConnection, Callable[[EngineConnection], object]]
    """By connection, what is called once when it is drained and all that came is answered, before
    the end. It may send, and `defer`."""


class FilteringProtocol(ConnectionProtocol, Protocol):
    """A protocol with filters between socket and framing, which no protocol need have."""

    @property
    def filters(self) -> Callable[[EngineConnection], Sequence[Filter]] | None:
        """Makes the filters of a new connection, the one next to the socket first. All but one
        have to be passive. None, like no such attribute, is no filter for any connection."""


class CountingProtocol(ConnectionProtocol, Protocol):
    """A protocol whose connections count messages and bytes, which no protocol need do."""

    @property
    def counts(self) -> bool:
        """Does each connection count? False, like no such attribute, counts nothing. Asked for
        once a loop."""


class MessageRates(Protocol):
    """A limit of the messages that each connection delivers a second: a bucket that holds ``burst``
    seconds' worth. Of a bucket only the time is kept at which it will be full again."""

    @property
    def interval(self) -> float:
        """Seconds for each message."""

    @property
    def burst(self) -> float:
        """Seconds, at least ``interval``: as many messages may come at once."""

    def limited(
        self, receive: Callable[..., Reply], wants_connection: bool
    ) -> Callable[[bytes, EngineConnection], Reply]:
        """``receive``, which counts the messages: for an engine that does not count by itself."""

    def pause(self, connection: EngineConnection, seconds: float) -> None:
        """The bucket is empty: deliver nothing for so long."""


class RatedProtocol(ConnectionProtocol, Protocol):
    """A protocol with a limit of messages a second, which no protocol need have."""

    @property
    def rates(self) -> MessageRates | None:
        """None, like no such attribute, is no limit."""


class EventLoop(Protocol):
    """One thread's loop."""

    @property
    def name(self) -> str:
        """The engine's."""

    @property
    def poller_name(self) -> str:
        """``epoll``, ``poll``, ``select`` or ``kqueue``: what it asks the kernel with."""

    @property
    def thread(self) -> int | None:
        """The identifier of the one that polls it; None before the first turn, and once closed."""

    def fileno(self) -> int:
        """A descriptor that is readable when ``poll(0)`` has work: the whole engine is one
        descriptor in another loop. Raises EngineMissing for a poller without a descriptor."""

    def begin(self) -> None:
        """This process is to serve: one that is forked from now on gives the loop up, and one that
        was forked before may serve as well."""

    @property
    def inherited(self) -> bool:
        """Was this process forked from the loop's own, after `begin` or the first turn? Then the
        loop serves nobody here."""

    @property
    def wakeup_fd(self) -> int:
        """For signal.set_wakeup_fd: a signal that comes just before the loop waits wakes it."""

    def connections(self) -> Iterable[EngineConnection]:
        """All that were established and are not yet closed: a copy, in any thread."""

    def all_connections(self) -> list[Any]:
        """All that are not yet closed, established or not: a copy, in any thread."""

    def sources(self) -> list[EventSource]:
        """All that are watched, or disabled: a copy, in any thread."""

    def survey(self, sources: Sequence[EventSource], found: Survey) -> None:
        """Add to ``found`` what the connections among ``sources`` have and hold; of those that have
        been closed, what they had. In the loop's thread."""

    def newcomers(self) -> Iterable[Connection]:
        """All that are not yet established, or failed to be. For the loop's thread."""

    def advance_newcomers(self) -> bool:
        """Read what handshakes have received until now, and abort those that have received nothing.
        Returns whether any newcomer is left."""

    def listen(
        self,
        listener: socket.socket,
        accept: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
    ) -> AcceptSource:
        """Give each new connection to ``accept``, and errors of accepting to ``failed``."""

    def watch(self, fd: int, source: EventSource, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events`` (`epollo.engine.events`)."""

    def unwatch(self, fd: int) -> None:
        """Ask nothing of ``fd`` any more; its owner closes it."""

    def unlisten(self, listener: socket.socket) -> None:
        """Accept no more from ``listener``, and close it."""

    def attach(self, sock: socket.socket, protocol: ConnectionProtocol) -> EngineConnection:
        """Serve ``sock``, connected or with its connect under way; the loop owns it from here.

        Raises PollerFull, with ``sock`` closed, if the poller cannot watch its descriptor.
        """

    def report(self, error: BaseException, what: str) -> None:
        """Log an error of the application that is no connection's close reason. KeyboardInterrupt
        and SystemExit then leave ``poll`` at the end of the turn. In the loop's thread."""

    delayed_calls: dict[Any, set[DelayedCall]]
    """Calls of ``call_later`` of a connection or a server that are to come, by that."""

    def time(self) -> float:
        """What `call_later` counts by: time.monotonic(), unless a test controls it."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once, ``seconds`` from now on the monotonic clock, or as soon after as
        the loop comes to it; what it raises is logged. In the loop's thread, or before it runs."""

    def call_threadsafe(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once in the loop's thread, soon, behind those asked for before; what it
        raises is logged. From any thread, and from signal handlers."""

    def push_threadsafe(self, connection: Any, frame: bytes, context: object = None) -> bool:
        """Queue ``frame`` on ``connection``, from another thread than the loop's. False if it takes
        no more: it is closed, or it is closed as slow_consumer because of this frame. Raises
        Reframed if it was made for a ``context`` that is not the connection's any more."""

    def push_all(self, members: tuple[Any, ...], frame: bytes, exclude: object = None) -> None:
        """Queue ``frame`` on each of ``members`` but ``exclude``, as their ``push`` does. In the
        loop's thread."""

    def enforce(self, bounds: Bounds) -> None:
        """The next tick of the clock of deadlines: end the connections over one of the ``bounds``,
        maybe some of them in turns that follow. None is ended before it is over it."""

    tick_seconds: float
    """Seconds between two calls of ``enforce``; 0 while there are none."""
    on_ticks_needed: Callable[[], object] | None
    """Is called when ``enforce`` has to be called from now on, maybe not for the first time. None:
    the loop calls it itself then."""

    def limit_growth(self, limit: int, tell: Callable[[], object]) -> None:
        """Call ``tell`` each time that connections were given ``limit`` bytes more to hold: output
        that the kernel does not take, and reads that end inside a frame or are held back."""

    slow_after: float
    """Seconds from which on ``on_slow`` is told that one read, and what the handler did with it,
    held the loop for so long; infinite at first."""
    on_slow: Callable[[Any, float], object]
    late_after: float
    """Seconds from which on ``on_late`` is told that a turn took so long, without its wait;
    infinite at first. While it is finite, ``turn_count`` turns took ``turn_seconds`` in all."""
    on_late: Callable[[float], object]
    turn_count: int
    turn_seconds: float
    served_seconds: float
    """What the events of open connections took, while ``slow_after`` is finite."""
    read_messages: int
    """Messages of the event that is being served, or was last, if they are counted; without those
    whose handler goes on after it. 0 when an event begins, of whatever kind it is."""
    undelivered: int
    """Messages that were held back, and then dropped with their connection."""
    pauses: dict[int, int]
    """How often a connection began to be paused, by cause, of `epollo.engine.pauses`."""
    crossing_seconds: float
    """How long a drained connection is kept for what crosses its end on the wire; 0 at first."""
    on_error: Callable[[BaseException, str], object]
    """Is told of errors that are no connection's close reason, and of what raised them; at first it
    logs them."""

    def poll(self, timeout: float | None = None) -> int:
        """One turn: wait up to ``timeout`` seconds, serve what is ready; returns how many were."""

    def run(self) -> None:
        """Serve, turn after turn, until ``stop``. Raises RuntimeError once closed, OSError if
        the poller fails."""

    def stop(self) -> None:
        """End ``run`` after the present turn."""

    def close(self) -> None:
        """Abort every connection, close every listener and descriptor. In a process forked from
        the loop's own, whose sockets these are too, nothing is said to the peers."""


class AcceptSource(Protocol):
    """A listener in the loop."""

    accepts: int
    """Connections that it accepts in one turn, at most."""

    def accept(self, most: int) -> None:
        """Accept up to ``most`` of the connections that are queued, now."""


class EventSource(Protocol):
    """Whatever the loop watches a descriptor for."""

    def ready(self, events: int) -> None:
        """The descriptor is ready for ``events``."""

    def abort(self) -> None:
        """The loop is closed."""


class LoopInterface(Protocol):
    """What a connection needs of its loop."""

    thread: int | None
    polling: bool  # in a turn
    dispatching: bool  # giving sources their events
    tick: int  # counts the sweeps; connections keep it in place of a time

    @property
    def not_begun(self) -> int:
        """The tick that they keep while no frame has begun, or no output waits for the peer."""

    crossing_seconds: float  # for what crosses the end of a drained connection on the wire
    replies: dict[Any, Any]  # by connection, its `Replies` while some are not queued whole
    held_reads: dict[Any, Any]  # by connection, the `HeldRead` of what it holds back
    undelivered: int  # messages that were held back, and then dropped
    read_messages: int  # see `EventLoop`
    pauses: dict[int, int]  # how often a connection began to be paused, by cause
    dropped: dict[Any, int]  # by connection: bytes unsent when it was closed, until it is told

    def serve_held_back(self, connection: Any, messages: Iterable[bytes]) -> int | None:
        """Deliver messages that were held back; returns what `BaseConnection.serve` does."""

    def watch(self, fd: int, source: EventSource, events: int) -> None:
        """Tell ``source`` when ``fd`` is ready for one of ``events``; replaces an earlier watch."""

    def disable(self, fd: int) -> None:
        """Keep ``fd``, but report no event of it until it is watched again."""

    def source_of(self, fd: int) -> EventSource | None:
        """The source that is watched at ``fd``, or disabled."""

    def schedule_flush(self, connection: Any) -> None:
        """Flush ``connection``, and update its state, when the turn ends."""

    def schedule_close(self, connection: Any, abort: bool) -> None:
        """Disable it now; close the descriptor, and call ``closed``, at the end of the turn. With
        ``abort``, the kernel drops what the peer has not taken."""

    delayed_calls: dict[Any, set[DelayedCall]]  # those to come, by what they belong to
    writers: dict[Any, set[Any]]  # by connection, futures of coroutines in `writable`
    idle_timeouts: IdleTimeouts  # those that connections have of their own
    tick_seconds: float  # from one sweep to the next

    def start_ticks(self) -> None:
        """See to it that there are sweeps."""

    def time(self) -> float:
        """What `call_later` counts by, in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...
    def call_threadsafe(self, callback: Callable[[], object]) -> None: ...
    def push_threadsafe(self, connection: Any, frame: bytes, context: object = None) -> bool: ...
    def settle_pushes(self, connection: Any, change: Callable[[], object]) -> None:
        """Queue what other threads have sent to ``connection``, and make the ``change`` then."""

    def report(self, error: BaseException, what: str) -> None: ...
    def pass_on(self, error: BaseException) -> None: ...


class ConnectionContext(Protocol):
    """What the connections of one protocol on one loop have in common, looked up once."""

    @property
    def loop(self) -> LoopInterface: ...
    @property
    def protocol(self) -> ConnectionProtocol: ...
    @property
    def encode(self) -> Callable[[Buffer], bytes]: ...

    @property
    def framing(self) -> Framing: ...
    @property
    def contexts(self) -> dict[object, Any]:
        """Those that differ by their framing only, by what that was said to be."""

    def with_framing(self, given: object) -> Any:
        """The one with this framing. Raises FramingSpecError."""

    def other(self, framing: Framing) -> Any:
        """A new one with ``framing``."""

    @property
    def filters(self) -> Callable[[EngineConnection], Sequence[Filter]] | None: ...


class Membership(Protocol):
    """The ``groups`` of a protocol that has some. Called from any thread."""

    def join(self, group: str, member: Any) -> None: ...
    def leave(self, group: str, member: Any) -> None: ...
    def reframe(self, member: Any) -> None: ...
    def of(self, member: Any) -> frozenset[str]: ...
