"""The goodbye of a stop: each connection ends at a message boundary, and not all of them at once.

A connection ends when its peer has been silent for the quiet period and nothing is due to it:
no frame has begun, no reply is pending. Until then its messages are served. A peer that sends at
its own pace sees the end in one of its pauses, and has lost nothing. A peer that never pauses is
ended shortly before the grace is over: what it has sent until then is answered. Either way, the
server ends only its own side of the stream first. So a peer whose message was on its way sees the
end of the stream, not a reset.

With a ``pace``, the ends are spread evenly over that time: all peers that reconnect at the same
moment would be a storm for the server that takes them over.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import islice

from epollo.engine import EngineConnection, EventLoop
from epollo.engine.base_loop import MOST_ENDED

LAST_SECONDS = 1.0  # before the end of the grace, for those that were never quiet
LATE_SECONDS = 1.0  # of silence, at least, if it was established after the stop began
CROSSING_SECONDS = 0.5
"""For which an ended connection is kept, unless its peer ends it too: a message that the peer has
sent meanwhile would be answered by a reset. More than most round trips."""
_LONGEST_PERIOD = 0.125  # seconds between two looks at all connections
_SHORTEST_PERIOD = 0.01

Farewell = Callable[[EngineConnection], object]


class Goodbye:
    """Ends the connections of ``loop``, from `begin` on: each when it was quiet for ``quiet``
    seconds, all of them evenly over ``pace`` seconds. With a ``farewell``, each is first put into
    ``farewells``, which its drain looks at. A tick of the loop takes ``tick_seconds``."""

    def __init__(
        self,
        loop: EventLoop,
        quiet: float,
        pace: float,
        tick_seconds: float,
        farewell: Farewell | None,
        farewells: dict[EngineConnection, Farewell],
    ) -> None:
        self._loop = loop
        self._quiet = quiet
        self._pace = pace
        self._tick_seconds = tick_seconds
        self._farewell = farewell
        self._farewells = farewells
        self._initial: frozenset[EngineConnection] = frozenset()
        self._ended: set[EngineConnection] = set()  # of those that are open
        self._count = 0  # of all that were ended
        self._forced_from = (0, 0)  # how many were left when that time came, and the count then
        self._busy: dict[EngineConnection, float] = {}  # when each was last found busy
        self._found: list[EngineConnection] = []  # quiet, at the last look at all
        self._next_look = -math.inf

    def begin(self, grace: float, late: bool) -> None:
        """The grace begins, and lasts that many seconds. With ``late``, handshakes have begun, and
        their connections come later."""
        self._late = late
        self._loop.crossing_seconds = CROSSING_SECONDS if self._quiet else 0.0
        self._start = time.monotonic()
        self._last = self._start + grace - min(LAST_SECONDS, grace / 2)
        self._forcing = max(self._start, self._last - self._pace)
        connections = list(self._loop.connections())
        self._initial = frozenset(connections)
        period = self._quiet / 8
        if self._pace and self._initial:
            period = min(period or math.inf, self._pace / len(self._initial))
        self._period = max(_SHORTEST_PERIOD, min(_LONGEST_PERIOD, period or _LONGEST_PERIOD))
        self._end_some(connections)

    def hurry(self) -> None:
        """From now on, be quick: without the quiet period, and not spread."""
        self._quiet = self._pace = self._loop.crossing_seconds = 0.0
        self._next_look = -math.inf

    def _step(self) -> None:
        self._end_some(list(self._loop.connections()))

    def _end_some(self, connections: Collection[EngineConnection]) -> None:
        """Of all ``connections``, end those whose time has come; look again in a while, whatever an
        end raises."""
        try:
            self._end_due(connections)
        finally:
            self._busy = {each: since for each, since in self._busy.items() if not each.closed}
            if len(self._ended) < len(connections) or (self._late and self._loop.newcomers()):
                self._loop.call_later(self._period, self._step)

    def _end_due(self, connections: Collection[EngineConnection]) -> None:
        now = time.monotonic()
        self._ended.intersection_update(connections)
        waiting = [each for each in connections if each not in self._ended]
        if now < self._last:
            self._end(self._quiet_ones(waiting, now), self._due_at(now))
            waiting = [each for each in waiting if each not in self._ended]
        if waiting and now >= self._forcing:
            self._end(waiting, self._forced_at(now, len(waiting)))

    def _quiet_ones(
        self, waiting: Collection[EngineConnection], now: float
    ) -> Iterable[EngineConnection]:
        """Those of ``waiting`` that are quiet. To ask the kernel about thousands takes
        milliseconds, so all of them are looked at as seldom as without a pace. In between, those
        that were quiet then are looked at again, each when it is to end."""
        if now >= self._next_look:
            self._next_look = now + min(_LONGEST_PERIOD, self._quiet / 8)
            self._found = [each for each in waiting if self._is_quiet(each, now)]
            return self._found
        left = (each for each in self._found if not (each.closed or each in self._ended))
        return (each for each in left if self._is_quiet(each, now))

    def _is_quiet(self, connection: EngineConnection, now: float) -> bool:
        quiet = self._quiet if connection in self._initial else max(self._quiet, LATE_SECONDS)
        if not quiet:
            return True
        if connection.busy:
            self._busy[connection] = now
            return False
        if now - self._busy.get(connection, -math.inf) < quiet:
            return False
        return connection.silence(self._tick_seconds) >= quiet

    def _due_at(self, now: float) -> float:
        """How many connections may have been ended by now."""
        if now - self._start >= self._pace:
            return math.inf
        return math.ceil(len(self._initial) * (now - self._start) / self._pace)

    def _forced_at(self, now: float, left: int) -> float:
        """How many have to have been ended by now, quiet or not, if ``left`` are left."""
        if now >= self._last:
            return math.inf
        if not self._forced_from[0]:
            self._forced_from = left, self._count
        whole = self._last - self._forcing
        forced, before = self._forced_from
        return before + math.ceil(forced * (now - self._forcing) / whole)

    def _end(self, connections: Iterable[EngineConnection], due: float) -> None:
        """End the first of ``connections``, until ``due`` have been ended in all."""
        most = None if due == math.inf else max(0, int(due) - self._count)
        chosen = deque(islice(connections, most))
        self._ended.update(chosen)
        self._count += len(chosen)
        self._drain_some(chosen)

    def _drain_some(self, chosen: deque[EngineConnection]) -> None:
        """Drain the first of them, and the others in later turns. A stream ends when its turn does,
        and what comes between that and the last read has no answer: so turns are to be short."""
        try:
            for _ in range(min(MOST_ENDED, len(chosen))):
                connection = chosen.popleft()
                if connection.closed:
                    continue
                if self._farewell is not None:
                    self._farewells[connection] = self._farewell
                connection.drain()
        finally:  # a signal handler may have raised
            if chosen:
                self._loop.call_threadsafe(partial(self._drain_some, chosen))
