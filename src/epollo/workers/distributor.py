"""Exact balance: the supervisor accepts connections, and passes each to the worker with the fewest.

A connection that no worker can take stays in the accept queue. A worker that does not answer for
`LATE_SECONDS` gets no more, and what it has not read is passed to others, until it answers.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from epollo.engine import EventLoop
from epollo.engine.events import READ
from epollo.engine.listener import ACCEPTS_PER_TURN, Listener
from epollo.engine.timers import Timer
from epollo.logs.logger import logger
from epollo.workers.passage import Passage

LATE_SECONDS = 0.25
RETRY_SECONDS = 1.0  # after accept(2) has failed, such as with EMFILE
LAST_SECONDS = 1.0  # at the end, while the kernel takes no packet
_AGAIN_SECONDS = 0.02  # from one attempt of those to the next

_log = logger("epollo.supervisor")


class Distributor:
    """Accepts from some listeners for all workers. Without listeners it does nothing."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._queues: list[_AcceptQueue] = []
        self._used: list[Passage] = []  # of the workers that get new connections
        self._all: list[Passage] = []
        self._waiting: deque[socket.socket] = deque()  # accepted, and with no worker
        self._timer: Timer | None = None
        self._finished = False  # accepts no more
        self._passed = False  # passes no more

    def listen(self, listeners: Iterable[socket.socket]) -> None:
        """Accept from ``listeners``, whose owner closes them, and no more from others."""
        self._stop_watching()
        self._queues = [_AcceptQueue(self, self._loop, each) for each in listeners]
        self._update_watch()

    def new_passage(self) -> Passage | None:
        """For a new worker; None if there are no listeners. Raises OSError."""
        return Passage() if self._queues else None

    def add(self, passage: Passage) -> None:
        """A worker was started. It gets connections from `use` on."""
        self._all.append(passage)
        passage.watch(self._loop, self._proceed)

    def use(self, passages: Sequence[Passage]) -> None:
        """New connections go to the workers of ``passages``. What others have not read is taken
        back."""
        if self._finished or passages == self._used:
            return
        before, self._used = self._used, list(passages)
        for each in before:
            if each not in self._used:
                self._take_back(each)
        self._proceed()

    def ended(self, passage: Passage) -> None:
        """Its worker has ended: others get what it has not begun to serve."""
        self._all.remove(passage)
        if passage in self._used:
            self._used.remove(passage)
        self._waiting.extendleft(reversed(passage.end()))
        if self._passed:
            self._close_waiting()
        self._proceed()

    def accept_last(self, most: int) -> None:
        """Accept what is in the accept queues, up to ``most`` from each, and accept no more."""
        if self._finished:
            return
        self._stop_watching()
        for queue in self._queues:
            queue.accept(most)
        self._finished = True

    def pass_last(self, passages: Sequence[Passage], done: Callable[[], object]) -> None:
        """Pass what was accepted to the workers of ``passages``, whether they answer or not. Call
        ``done`` then, or when the kernel has taken nothing for `LAST_SECONDS`."""
        self._pass_last(passages, done, time.monotonic() + LAST_SECONDS)

    def _pass_last(
        self, passages: Sequence[Passage], done: Callable[[], object], deadline: float
    ) -> None:
        running = [each for each in passages if each in self._all]
        self._assign([each for each in self._used if not each.silent] or running)
        if self._waiting and running and time.monotonic() < deadline:
            again = partial(self._pass_last, running, done, deadline)
            self._loop.call_later(_AGAIN_SECONDS, again)
            return
        self._passed = True
        done()

    def close(self) -> None:
        """Close the connections that no worker has taken."""
        for each in self._all:
            self._waiting.extend(each.end())
        self._all.clear()
        self._close_waiting()

    def give_up(self, own: Passage | None) -> None:
        """In a new worker, whose side is in ``own``: close the copies of all connections."""
        for each in self._all:
            each.give_up()
        for connection in self._waiting:
            connection.close()
        if own is not None:
            own.give_up(own=True)

    def accepted(self, connection: socket.socket) -> None:
        """A queue has accepted ``connection``."""
        self._waiting.append(connection)

    def pass_on(self) -> None:
        """A queue has accepted all for now."""
        if not self._finished:
            self._proceed()

    # ---- Passing on

    def _proceed(self) -> None:
        """Something has changed: pass on what waits, and accept more if workers take it."""
        self._assign([each for each in self._used if each.takes_more])
        if not self._finished:
            self._update_watch()
        if self._timer is None and (self._waiting or any(each.waits for each in self._all)):
            self._timer = self._loop.call_later(LATE_SECONDS, self._check)

    def _assign(self, passages: Sequence[Passage]) -> None:
        candidates = list(passages)
        while self._waiting and candidates:
            chosen = min(candidates, key=_load)
            chosen.add(self._waiting.popleft())
            if not self._finished and not chosen.takes_more:
                candidates.remove(chosen)
        for each in passages:
            self._waiting.extendleft(reversed(each.flush()))

    def _update_watch(self) -> None:
        wanted = not self._waiting and any(each.takes_more for each in self._used)
        for queue in self._queues:
            queue.watch(wanted)

    def _stop_watching(self) -> None:
        for queue in self._queues:
            queue.watch(False)

    def _check(self) -> None:
        self._timer = None
        if not self._finished:  # else each keeps its own: one that drains takes nothing later
            self._pass_over_late()
        self._proceed()

    def _pass_over_late(self) -> None:
        """Pass over the workers that do not answer."""
        for each in self._used:
            if not each.silent and each.is_late(LATE_SECONDS):
                taken = self._take_back(each)
                _log.debug("a worker is late: %d connections are passed to others", taken)
                each.probe()

    def _take_back(self, passage: Passage) -> int:
        taken = passage.take_back()
        self._waiting.extendleft(reversed(taken))
        return len(taken)

    def _close_waiting(self) -> None:
        if self._waiting:
            _log.warning("%d connections were closed: no worker is left", len(self._waiting))
        while self._waiting:
            self._waiting.popleft().close()


class _AcceptQueue:
    """One listener. Not an `epollo.engine.listener.Listener` itself, so that a new worker can close
    its copy, which a loop would replace."""

    def __init__(self, distributor: Distributor, loop: EventLoop, listener: socket.socket) -> None:
        self._distributor = distributor
        self._loop = loop
        self._socket = listener
        self._listener = Listener(listener, distributor.accepted, self._failed, loop.report)
        self._watched = False
        self._pausing = False

    def ready(self, events: int) -> None:
        """The loop calls this."""
        self.accept(ACCEPTS_PER_TURN)
        self._distributor.pass_on()

    def accept(self, most: int) -> None:
        self._listener.accept(most)

    def watch(self, wanted: bool) -> None:
        """Accept, or leave connections in the accept queue."""
        wanted = wanted and not self._pausing and self._socket.fileno() >= 0
        if wanted and not self._watched:
            self._loop.watch(self._socket.fileno(), self, READ)
        elif self._watched and not wanted:
            self._loop.unwatch(self._socket.fileno())
        self._watched = wanted

    def abort(self) -> None:
        """The loop is closed."""

    def _failed(self, error: OSError) -> None:
        if self._pausing:
            return
        _log.warning("cannot accept: %s; trying again in %g s", error.strerror, RETRY_SECONDS)
        self._pausing = True
        self.watch(False)
        self._loop.call_later(RETRY_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pausing = False
        self._distributor.pass_on()


def _load(passage: Passage) -> int:
    return passage.load
