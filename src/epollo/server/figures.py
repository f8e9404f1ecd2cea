"""What one process has counted since it began to serve."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from epollo.engine import EngineConnection, EventLoop
from epollo.engine.durations import BOUNDS, Durations
from epollo.engine.survey import CAUSES, Survey
from epollo.engine.traffic import Traffic
from epollo.server.counters import Counters
from epollo.server.groups.broker import BrokerCounts
from epollo.server.resident_memory import resident_bytes

WINDOW = 30.0
"""Seconds. Two scrapes are less far apart, so they miss no turn."""

LOOKED_AT = 32
"""Connections that are looked at in one piece: some ten microseconds."""

_GRAIN = 1 << 20
"""Parts of a second that sums are told in. Sums of several processes are then exact, so they are
the same in whatever order they are added up; otherwise one could fall by a rounding error when a
process ends and is added up before another one."""


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
        self._fast = 0  # messages in the first bucket, at the most that were told

    def on_read(self, connection: EngineConnection, seconds: float) -> None:
        """A read of ``connection`` took longer than the first bound."""
        loop = connection.context.loop
        messages, loop.read_messages = loop.read_messages, 0
        if messages > 0:
            self.elsewhere += messages
            self._durations.count(seconds / messages, messages)

    def defer(self, connection: EngineConnection) -> float:
        """A call goes on after its read; returns the time at which it began, for `end`."""
        connection.context.loop.read_messages -= 1
        self.elsewhere += 1
        return time.monotonic()

    def end(self, began: float) -> None:
        """Such a call has ended."""
        seconds = time.monotonic() - began
        self._durations.count(seconds)
        self._durations.sum += seconds

    def read(self, delivered: int, seconds: float) -> dict[str, Any]:
        """The histogram, if at least ``delivered`` messages reached the handler in all, and their
        reads took ``seconds``. No bucket is less than it was told before."""
        counts = list(self._durations.counts)
        self._fast = max(self._fast, delivered - self.elsewhere)
        counts[0] += self._fast
        return _histogram(counts, self._durations.sum + seconds)


class LongestTurn:
    """The longest turn of late: within the last `WINDOW`, or up to one more. Turns below the first
    bound are not looked at."""

    def __init__(self) -> None:
        self._now = self._before = 0.0  # seconds: in this window, and in the one before
        self._end = 0.0  # of this window, of time.monotonic()

    def count(self, seconds: float) -> None:
        """A turn took so long."""
        self._move_on()
        self._now = max(self._now, seconds)

    def read(self) -> float:
        """Seconds; 0 if there was none above the first bound."""
        self._move_on()
        return max(self._now, self._before)

    def _move_on(self) -> None:
        now = time.monotonic()
        if now >= self._end:
            self._before = self._now if now < self._end + WINDOW else 0.0
            self._now, self._end = 0.0, now + WINDOW


class Figures:
    """Those of one server; they go on when it is started again. In the loop's thread."""

    def __init__(self, counters: Counters) -> None:
        self.closed: Traffic = Traffic()  # of the closed connections
        self.calls: CallTimes = CallTimes()
        self.slow_handlers: int = 0
        self.broker: Callable[[], BrokerCounts] = BrokerCounts
        self.since: float = time.time()
        self._counters = counters
        self._loop: EventLoop | None = None
        self._turns = Durations()
        self._longest = LongestTurn()
        self._pauses = dict.fromkeys(CAUSES, 0)  # of earlier loops
        self._turn_count = self._undelivered = 0  # of earlier loops, as the next two
        self._turn_seconds = self._read_seconds = 0.0
        self._slow_after = math.inf
        self._on_slow: Callable[[Any, float], object]
        self._in_threads = False
        self._told = Traffic()  # the most of each count

    def begin(self, loop: EventLoop, *, in_threads: bool) -> None:
        """``loop`` is about to serve, and tells of slow handlers already. With ``in_threads`` it
        calls no handler itself."""
        self._loop, self._in_threads = loop, in_threads
        self._slow_after, loop.slow_after = loop.slow_after, min(loop.slow_after, BOUNDS[0])
        self._on_slow, loop.on_slow = loop.on_slow, self._on_slow_read
        loop.late_after, loop.on_late = BOUNDS[0], self._on_late_turn

    def end(self) -> None:
        """The loop is closed: keep what it has counted, and not the loop."""
        loop, self._loop = self._loop, None
        if loop is not None:
            self._turn_count += loop.turn_count
            self._turn_seconds += loop.turn_seconds
            self._read_seconds += 0.0 if self._in_threads else loop.served_seconds
            self._undelivered += loop.undelivered
            for cause, count in loop.pauses.items():
                self._pauses[cause] += count

    def _on_late_turn(self, seconds: float) -> None:
        self._turns.count(seconds)
        self._longest.count(seconds)

    def _on_slow_read(self, connection: EngineConnection, seconds: float) -> None:
        self.calls.on_read(connection, seconds)
        if seconds > self._slow_after:
            self.slow_handlers += 1
            self._on_slow(connection, seconds)

    def read(self) -> dict[str, Any]:
        """All of them now; also once the loop is closed."""
        pieces = self.in_pieces()
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def in_pieces(self) -> Generator[None, None, dict[str, Any]]:
        """The same, for a loop that may serve whenever this yields: the look at `LOOKED_AT`
        connections is one piece, and so is each question to the system.

        Each connection of the beginning is looked at once, those too that end meanwhile. So a
        count is no less than it was at the beginning, and no more than it is at the end.
        """
        survey = Survey()
        survey.add(self.closed)
        loop = self._loop
        if loop is not None:
            sources = loop.sources()
            for start in range(0, len(sources), LOOKED_AT):
                yield
                loop.survey(sources[start : start + LOOKED_AT], survey)
        yield
        memory = resident_bytes()
        yield
        descriptors = _open_descriptors()
        yield
        return {**self._all(survey), "memory": memory, "descriptors": descriptors}

    def _all(self, survey: Survey) -> dict[str, Any]:
        # Messages that were held back count as received, and no more if nobody gets them after all,
        # or they are cut anew by another framing. And of two looks that overlap, the one that began
        # first may end last. A count must not fall once it was told.
        self._told.raise_to(survey)
        return {
            "connections": self.connections(),
            "messages_in": self._told.messages_in,
            "messages_out": self._told.messages_out,
            "bytes_in": self._told.bytes_in,
            "bytes_out": self._told.bytes_out,
            "handler_seconds": self._handler_seconds(survey),
            "turn_seconds": self._turn_histogram(),
            "longest_turn": self._longest.read(),
            "unsent": survey.unsent,
            "buffered": survey.buffered,
            "paused": survey.paused,
            "pauses": self._all_pauses(),
            "in_flight": survey.in_flight,
            "since": self.since,
            "slow_handlers": self.slow_handlers,
            "broker": asdict(self.broker()),
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

    def _all_pauses(self) -> dict[str, int]:
        """How often a connection began to be paused, by cause."""
        here = {} if self._loop is None else self._loop.pauses
        return {name: self._pauses[cause] + here.get(cause, 0) for cause, name in CAUSES.items()}

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
    return {
        "bounds": list(BOUNDS),
        "counts": counts,
        "sum": math.floor(seconds * _GRAIN) / _GRAIN,
    }


def _open_descriptors() -> int:
    """Open descriptors of this process; 0 if it is not known. From Linux 6.2 on, the size of the
    folder is their number; to list thousands takes milliseconds."""
    try:
        folder = Path("/proc/self/fd")
        return folder.stat().st_size or len(list(folder.iterdir()))
    except OSError:
        return 0
