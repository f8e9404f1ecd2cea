"""The steps of a supervisor's stop: the delay, no more accepting, the drain of the workers, the
abort.

`epollo.server.shutdown` has those of one server, as each of the workers is.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from epollo.engine import EventLoop, Timer
from epollo.settings import Settings
from epollo.workers.handover import Handover
from epollo.workers.pool import Pool
from epollo.workers.sockets import Sockets


class Shutdown:
    """Ends the workers of ``pool``, once it is asked to; ``on_stopping`` is told when it begins. In
    the loop's thread."""

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        pool: Pool,
        sockets: Sockets,
        handover: Handover,
        on_stopping: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._pool = pool
        self._sockets = sockets
        self._handover = handover
        self._on_stopping = on_stopping
        self.asked: bool = False
        """Was a stop asked for?"""
        self._delay: Timer | None = None  # until the workers drain
        self._aborted = False
        self._terms = 0  # SIGTERMs, which may go to the whole group of processes

    def note_signal(self, number: int) -> None:
        """SIGTERM or SIGINT came. In the signal handler: a worker may soon say that it got one too.
        After an abort, every worker and this process end at once."""
        self._pool.stop_signalled = True
        if self._aborted:
            self._pool.kill_all()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def on_sigterm(self) -> None:
        """Stop after ``drain_delay``; see `ask`."""
        self._terms += 1
        self.ask(self._settings.drain_delay)

    def ask(self, delay: float = 0.0, *, quick: bool = False) -> None:
        """Let the workers drain after ``delay``. The second time, end the delay; if there is none,
        abort. If ``quick``, connections end without a quiet period, and not spread."""
        if self._delay is not None:
            self._delay.cancel()
            self._drain(quick)
        elif self.asked:
            self._aborted = True
            self._pool.abort(self._terms)
        else:
            self.asked = True
            self._begin(delay, quick)

    def _begin(self, delay: float, quick: bool) -> None:
        if self._handover.done:  # the workers drain already
            if quick:
                self._pool.accept_last(self._settings.backlog)
                self._pool.drain_all(self._terms, quick=True)
            return
        self._on_stopping()
        if self._sockets.borrowed:  # another supervisor's workers accept
            delay = 0.0
        self._pool.stop(delay, self._terms)
        self._handover.stop()
        if delay:
            self._delay = self._loop.call_later(delay, partial(self._drain, quick))
        else:
            self._drain(quick)

    def _drain(self, quick: bool) -> None:
        self._delay = None
        borrowed = self._sockets.borrowed
        queued = "none" if borrowed else "all"
        self._pool.accept_last(0 if borrowed else self._settings.backlog)
        self._sockets.close()  # first: then no connection can wait in a queue that nobody accepts
        self._pool.drain_all(self._terms, queued, quick=quick)
