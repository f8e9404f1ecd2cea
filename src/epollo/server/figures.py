"""What one process has counted since it began to serve."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epollo.engine import EngineConnection, EventLoop
from epollo.engine.durations import BOUNDS, Durations
from epollo.engine.survey import Survey
from epollo.engine.traffic import Traffic
from epollo.server.counters import Counters

_PAGE = os.sysconf("SC_PAGE_SIZE")


class CallTimes:
    """How long the handler took for each message.

    The loop times what it does with one read, with cutting the messages and sending the replies.
    Each message of a read counts with the mean: the time divided by the messages. It is not timed
    by itself, since two readings of the clock would cost more than many a message. So one slow
    message among fast ones of the same read makes them all look slower, and itself faster.

    A call that goes on after its read counts with its own time. For a function in a thread of the
    setting ``threads`` that begins when the message is handed to the threads, so waiting for one is
    part of it. For a coroutine it begins when it first waits; what it did before that is only in
    the sum. It ends when the handler has returned, or its reply is complete.

    The loop tells only of a read that took longer than the first bound; the messages of all others
    are in the first bucket.
    """

    def __init__(self) -> None:
        self.elsewhere: int = 0  # messages that are in ``durations``, or will be
        self._durations = Durations()

    def on_read(self, connection: EngineConnection, seconds: float) -> None:
        """A read of ``connection`` took longer than the first bound."""
        messages = connection.context.read_messages
        connection.context.read_messages = 0
        if messages > 0:
            self.elsewhere += messages
            self._durations.count(seconds / messages, messages)

    def defer(self, connection: EngineConnection) -> float:
        """A call goes on after its read; returns the time at which it began, for `end`."""
        connection.context.read_messages -= 1
        self.elsewhere += 1
        return time.monotonic()

    def end(self, began: float) -> None:
        """Such a call has ended."""
        seconds = time.monotonic() - began
        self._durations.count(seconds)
        self._durations.sum += seconds

    def read(self, delivered: int, seconds: float) -> dict[str, Any]:
        """The histogram, if ``delivered`` messages reached the handler in all, and their reads took
        ``seconds``."""
        counts = list(self._durations.counts)
        counts[0] += max(0, delivered - self.elsewhere)
        return _histogram(counts, self._durations.sum + seconds)


class Figures:
    """Those of one server; they go on when it is started again. In the loop's thread."""

    def __init__(self, counters: Counters) -> None:
        self.closed: Traffic = Traffic()  # of the closed connections
        self.calls: CallTimes = CallTimes()
        self.slow_handlers: int = 0
        self.since: float = time.time()
        self._counters = counters
        self._loop: EventLoop | None = None
        self._turns = Durations()
        self._turn_count = self._undelivered = 0  # of earlier loops, as the next two
        self._turn_seconds = self._read_seconds = 0.0
        self._slow_after = math.inf
        self._on_slow: Callable[[Any, float], object]
        self._in_threads = False

    def begin(self, loop: EventLoop, *, in_threads: bool) -> None:
        """``loop`` is about to serve, and tells of slow handlers already. With ``in_threads`` it
        calls no handler itself."""
        self._loop, self._in_threads = loop, in_threads
        self._slow_after, loop.slow_after = loop.slow_after, min(loop.slow_after, BOUNDS[0])
        self._on_slow, loop.on_slow = loop.on_slow, self._on_slow_read
        loop.late_after, loop.on_late = BOUNDS[0], self._turns.count

    def end(self) -> None:
        """The loop is closed: keep what it has counted, and not the loop."""
        loop, self._loop = self._loop, None
        if loop is not None:
            self._turn_count += loop.turn_count
            self._turn_seconds += loop.turn_seconds
            self._read_seconds += 0.0 if self._in_threads else loop.served_seconds
            self._undelivered += loop.undelivered

    def _on_slow_read(self, connection: EngineConnection, seconds: float) -> None:
        self.calls.on_read(connection, seconds)
        if seconds > self._slow_after:
            self.slow_handlers += 1
            self._on_slow(connection, seconds)

    def read(self) -> dict[str, Any]:
        """All of them now; also once the loop is closed."""
        survey = Survey() if self._loop is None else self._loop.survey()
        survey.add(self.closed)
        return {
            "connections": self.connections(),
            "messages_in": survey.messages_in,
            "messages_out": survey.messages_out,
            "bytes_in": survey.bytes_in,
            "bytes_out": survey.bytes_out,
            "handler_seconds": self._handler_seconds(survey),
            "turn_seconds": self._turn_histogram(),
            "unsent": survey.unsent,
            "buffered": survey.buffered,
            "paused": survey.paused,
            "in_flight": survey.in_flight,
            "memory": _resident_bytes(),
            "descriptors": _open_descriptors(),
            "since": self.since,
            "slow_handlers": self.slow_handlers,
        }

    def connections(self) -> dict[str, Any]:
        """Connections, in totals."""
        counts = self._counters.snapshot()
        return {
            "accepted": counts.accepted,
            "open": counts.open,
            "refused": {str(each): count for each, count in counts.refused.items()},
            "closed": {str(each): count for each, count in counts.closed.items()},
        }

    def _handler_seconds(self, survey: Survey) -> dict[str, Any]:
        """See `CallTimes`."""
        undelivered, seconds = self._undelivered + survey.held_back, self._read_seconds
        if self._loop is not None:
            undelivered += self._loop.undelivered
            seconds += 0.0 if self._in_threads else self._loop.served_seconds
        return self.calls.read(survey.messages_in - undelivered, seconds)

    def _turn_histogram(self) -> dict[str, Any]:
        """Turns of the loop, without their waits. Of those in the first bucket only the number is
        counted."""
        count, seconds = self._turn_count, self._turn_seconds
        if self._loop is not None:
            count += self._loop.turn_count
            seconds += self._loop.turn_seconds
        counts = list(self._turns.counts)
        counts[0] += count - sum(counts)
        return _histogram(counts, seconds)


def _histogram(counts: list[int], seconds: float) -> dict[str, Any]:
    return {"bounds": list(BOUNDS), "counts": counts, "sum": seconds}


def _resident_bytes() -> int:
    """Resident memory of this process (proc(5), statm); 0 if it is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _open_descriptors() -> int:
    """Open descriptors of this process; 0 if it is not known. From Linux 6.2 on, the size of the
    folder is their number; to list thousands takes milliseconds."""
    try:
        folder = Path("/proc/self/fd")
        return folder.stat().st_size or len(list(folder.iterdir()))
    except OSError:
        return 0
