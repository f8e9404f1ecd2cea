"""Samples how the time of replies is spent: some times a second, not for each message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic_ns

from epollo.bench.results.delays import Delays
from epollo.bench.results.histogram import Histogram
from epollo.bench.run.connection import BenchConnection
from epollo.bench.run.metrics import NEVER
from epollo.bench.run.processor import OtherThreads, Pressure, RunQueue
from epollo.bench.run.receive_stamps import ReceiveStamps
from epollo.bench.run.server_waits import ServerWaits
from epollo.engine import CloseReason, EventLoop, Timer
from epollo.engine.connection import BaseConnection
from epollo.engine.events import READ
from epollo.engine.next_event import NextEvent

_INTERVAL = 20_000_000  # ns, between the moments
_PATIENCE = 50  # moments, after which another connection is sampled instead
# Stamps cost the tester up to 1 % of its time, so they are switched on for bursts of samples: for
# about a quarter of the time.
_BURST = 10  # samples
_APART = 0.005  # seconds, between two samples of a burst
_PAUSE = 0.1, 0.3  # seconds without stamps, from and to
_TRIES = 4  # connections looked at for one that can be sampled
_MOST = 64  # connections to choose from: those of a large run are a random part


@dataclass(slots=True)
class Sample:
    """One reply. Times are in ns.

    Attributes:
        at: when it was read.
        wait: since the send of the oldest message outstanding.
        read: since it had arrived in the kernel.
        without_core: of ``read`` and ``send``, the part without a processor, at most.
        send: until the message that follows it was sent.
    """

    at: int
    wait: int
    read: int
    without_core: int
    send: int = 0


class Sampler:
    """Every 20 ms, notes how late the loop is. In bursts with pauses, chooses a connection: of its
    next reply it learns how long it was waited for, and how long it waited in the kernel.

    The moments are evenly spaced, and a late loop makes up for each of them, so that a long stall
    counts as often as it would for replies.

    ``processes`` are those of the server, and ``message_time`` tells the message-ns so far.
    """

    def __init__(
        self, loop: EventLoop, processes: Iterable[int], message_time: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._processes = list(processes)
        self._message_time = message_time
        self._server = ServerWaits(self._processes)
        self._connections: deque[BenchConnection] = deque()  # the next one to be chosen first
        self._offered = 0  # connections
        self._chance = Random(1)  # noqa: S311
        self._waits, self._reads, self._sends, self._lags = (Histogram() for _ in range(4))
        self._own_without_core = self._lags_without_core = 0.0
        self._stamps: ReceiveStamps | None = None
        self._queue: RunQueue | None = None
        self._chosen: _Chosen | None = None
        self._timer: Timer | None = None
        self._next_sample: Timer | None = None
        self._left = 0  # samples of this burst
        self._due = 0
        self._waited = 0  # for a processor, at the last moment
        self._others: tuple[OtherThreads, Pressure] | None = None
        self._ended = False
        self.delays: Delays | None = None  # once it is over

    def add(self, connection: BenchConnection) -> None:
        """It is connected: it may be chosen. Each is, with the same chance, one of those kept."""
        self._offered += 1
        if len(self._connections) < _MOST:
            self._connections.append(connection)
        elif (place := self._chance.randrange(self._offered)) < _MOST:
            self._connections[place] = connection

    def start(self) -> None:
        """The window begins. Nothing, if the run is over already."""
        if self._ended:
            return
        self._others = OtherThreads(self._processes), Pressure()
        self._server.begin(self._message_time())
        self._begin_burst()
        self._queue = RunQueue()
        self._waited = self._queue.waited or 0
        self._due = monotonic_ns()
        self._set_timer()

    def stop(self) -> None:
        """The window is over."""
        self._ended = True
        if self._others is None:
            return
        server, pressure = self._others
        self._others = None
        self._give_up_chosen()
        self._connections.clear()
        assert self._timer is not None
        assert self._queue is not None
        self._note_lags()
        self._server.note(self._message_time())
        self._timer.cancel()
        if self._next_sample is not None:
            self._next_sample.cancel()
        known = self._queue.waited is not None
        self._queue.close()
        if self._stamps is not None:
            self._stamps.close()
        self.delays = Delays(
            waits=self._waits,
            reads=self._reads,
            sends=self._sends,
            lags=self._lags,
            own_without_core=self._own_without_core if known else None,
            lags_without_core=self._lags_without_core if known else None,
            server_without_core=server.without_core(),
            server_starved=self._server.part(),
            pressure=pressure.part(),
        )

    def _set_timer(self) -> None:
        self._due += _INTERVAL
        wait = max(0, self._due - monotonic_ns())
        self._timer = self._loop.call_later(wait / 1e9, self._sample)

    def _sample(self) -> None:
        self._note_lags()
        self._server.note(self._message_time())
        if self._chosen is None:
            if self._next_sample is None:
                self._choose()
        elif not self._chosen.waits_on():
            self._give_up_chosen()
            self._choose()
        self._set_timer()

    def _begin_burst(self) -> None:
        self._next_sample = None
        self._stamps, self._left = ReceiveStamps(), _BURST

    def _end_burst(self) -> None:
        if self._stamps is not None:
            self._stamps.close()
        pause = self._chance.uniform(*_PAUSE)
        self._next_sample = self._loop.call_later(pause, self._begin_burst)

    def _note_lags(self) -> None:
        """How late the loop is, for each moment since the last time."""
        assert self._queue is not None
        now, waited = monotonic_ns(), self._queue.waited or 0
        late = total = max(0, now - self._due)
        without_core = min(1.0, (waited - self._waited) / late) if late else 0.0
        self._waited = waited
        if now >= self._due:
            self._lags.record(late)
        while self._due + _INTERVAL <= now:
            self._due += _INTERVAL
            self._lags.record(now - self._due)
            total += now - self._due
        self._lags_without_core += without_core * total

    def _choose(self) -> None:
        """Choose the next connection, if the kernel gives stamps."""
        self._next_sample = None
        assert self._queue is not None
        if self._stamps is None or not self._stamps.available:
            return
        for _ in range(_TRIES):
            connection = self._next_connection()
            if connection is None:
                return
            chosen = _Chosen(connection, self._stamps, self._queue, self._note)
            if chosen.pending:
                self._chosen = chosen
                return

    def _next_connection(self) -> BenchConnection | None:
        """The next one that is not closed; closed ones are forgotten."""
        while self._connections:
            connection = self._connections.popleft()
            if connection.transport is not None and not connection.transport.closed:
                self._connections.append(connection)
                return connection
        return None

    def _give_up_chosen(self) -> None:
        if self._chosen is not None:
            self._chosen.give_up()
        self._chosen = None

    def _note(self, sample: Sample) -> None:
        self._chosen = None
        if self._others is None:  # the window is over
            return
        self._waits.record(sample.wait)
        self._reads.record(sample.read)
        self._sends.record(sample.send)
        self._own_without_core += sample.without_core
        self._left -= 1
        if self._left:
            self._next_sample = self._loop.call_later(_APART, self._choose)
        else:
            self._end_burst()


class _Chosen:
    """A connection whose next reply is sampled; ``found`` is called with what was found."""

    def __init__(
        self,
        connection: BenchConnection,
        stamps: ReceiveStamps,
        queue: RunQueue,
        found: Callable[[Sample], object],
    ) -> None:
        assert isinstance(connection.transport, BaseConnection)
        self._moments = 0  # since it was chosen
        self._connection = connection
        self._transport = connection.transport
        self._stamps = stamps
        self._queue = queue
        self._found = found
        self._waited = queue.waited or 0
        self._sample: Sample | None = None
        self._event: NextEvent | None = None
        with suppress(OSError):  # it is broken, and the loop will notice
            stamps.want(self._transport.socket)
            self._event = self._transport.watch_next_event(self._arrived, self._served)

    @property
    def pending(self) -> bool:
        """Is it still waited for?"""
        event, transport = self._event, self._transport
        return event is not None and transport.loop.source_of(transport.fd) is event

    def waits_on(self) -> bool:
        """Is it still waited for, one moment later? Not for ever."""
        self._moments += 1
        return self._moments < _PATIENCE and (self.pending or self._sample is not None)

    def give_up(self) -> None:
        """Wait for it no more."""
        event, self._event = self._event, None
        if event is not None:
            event.cancel()

    def _arrived(self, events: int) -> None:
        """Something has arrived, and is about to be read."""
        self._event = None
        if events != READ:  # an end
            return
        sent, now = self._connection.oldest_sent(), monotonic_ns()
        read = None
        try:
            read = self._stamps.waiting(self._transport.socket)
        except OSError as error:  # a reset just now; the kernel tells it only once
            self._transport.drop(CloseReason.RESET, error)
        if read is not None and sent < NEVER and 0 <= read <= now - sent:  # else the clock was set
            self._sample = Sample(now, now - sent, read, min(read, self._time_in_queue()))

    def _served(self) -> None:
        """It was read, and the next message made. The native engine has sent that; the Python one
        sends it when the turn ends, after the calls."""
        if self._sample is None:
            return
        if self._transport.unsent:
            self._transport.loop.call_threadsafe(self._sent)
        else:
            self._sent()

    def _sent(self) -> None:
        sample, self._sample = self._sample, None
        if sample is not None:
            sample.send = monotonic_ns() - sample.at
            sample.without_core += min(sample.send, self._time_in_queue())
            self._found(sample)

    def _time_in_queue(self) -> int:
        """Since it was last asked for."""
        before, self._waited = self._waited, self._queue.waited or 0
        return self._waited - before
