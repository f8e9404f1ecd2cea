"""The cost of one wake-up with many idle connections, for each poller of the Python engine.

One connection is active, N are idle, all are watched. A byte is sent to the active one, and the
poller's call that reports it is timed. The time includes Python's own cost around the system call,
as in an iteration of the engine's loop.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product

from epollo.descriptors import all_descriptors
from epollo.engine.events import READ
from epollo.engine.python.poller import POLLERS, Poller
from epollo.errors import EpolloError, PollerFull
from epollo.lab.connections import Connections, largest_count, open_connections
from epollo.lab.select_end import SelectEnd, find_select_end

IDLE = (10, 100, 500, 1000, 2000, 5000, 9000)
SECONDS = 0.2  # for each figure
MOST = 2000  # wake-ups for each figure
ROUNDS = 4  # in each, every figure is measured: a machine's speed changes by the second


@dataclass(frozen=True, slots=True)
class WakeUp:
    """The cost of a wake-up of one poller with ``idle`` connections; times in seconds.

    If the poller could not watch them all, ``refused`` is the first descriptor that it refused,
    ``watched`` the number watched until then, and the times are None.
    """

    poller: str
    idle: int
    watched: int  # descriptors, the active one included
    refused: int | None = None
    samples: int = 0
    median: float | None = None
    lower: float | None = None  # quartiles
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class PollersResult:
    """The figures of one run of the experiment."""

    wake_ups: list[WakeUp]
    select_end: SelectEnd


def run_pollers(
    idle: Sequence[int] | None = None,
    seconds: float = SECONDS,
    progress: Callable[[str], object] = lambda _: None,
) -> PollersResult:
    """Measure every poller of this machine with each number of ``idle`` connections.

    ``idle`` defaults to the numbers in IDLE that the descriptor limit allows; ``seconds`` is the
    time for each figure. Raises UsageError if there are too few descriptors.
    """
    with all_descriptors() as limit:
        progress("trying select at descriptor 1024")
        end = find_select_end(limit)
        counts = sorted(idle or [n for n in IDLE if n <= largest_count(limit)] or IDLE[:1])
        progress(f"opening {counts[-1]:,} connections")
        with open_connections(counts[-1], limit) as connections:
            return PollersResult(_measure(connections, counts, seconds, progress), end)


def _measure(
    connections: Connections,
    counts: Sequence[int],
    seconds: float,
    progress: Callable[[str], object],
) -> list[WakeUp]:
    samples: dict[tuple[str, int], list[float]] = {}
    refused: dict[tuple[str, int], WakeUp] = {}
    for number in range(1, ROUNDS + 1):
        for cell in product(POLLERS, counts):
            progress(f"{cell[0]} with {cell[1]:,} idle connections, round {number} of {ROUNDS}")
            with closing(POLLERS[cell[0]]()) as poller:
                try:
                    _watch(poller, connections, cell[1])
                except _PollerFull as end:
                    refused[cell] = WakeUp(*cell, watched=end.watched, refused=end.fd)
                else:
                    found = samples.setdefault(cell, [])
                    found += _wake_ups(poller, connections, seconds / ROUNDS)
    cells = product(POLLERS, counts)
    return [refused.get(cell) or _summary(*cell, samples[cell]) for cell in cells]


class _PollerFull(Exception):
    """A poller watched ``watched`` descriptors and refused ``fd``."""

    def __init__(self, watched: int, fd: int) -> None:
        super().__init__(watched, fd)
        self.watched = watched
        self.fd = fd


def _watch(poller: Poller, connections: Connections, idle: int) -> None:
    for watched, sock in enumerate([connections.near, *connections.idle[:idle]]):
        try:
            poller.register(sock.fileno(), READ)
        except PollerFull:
            raise _PollerFull(watched, sock.fileno()) from None


def _wake_ups(poller: Poller, connections: Connections, seconds: float) -> list[float]:
    """The seconds that each wake-up took; at least two."""
    near, far = connections.near, connections.far
    clock = time.perf_counter
    times: list[float] = []
    with _no_collector():
        end = clock() + seconds
        while len(times) < 2 or (len(times) < MOST // ROUNDS and clock() < end):
            far.send(b"x")
            before = clock()
            ready = poller.poll(1.0)
            times.append(clock() - before)
            if ready != [(near.fileno(), READ)]:
                raise EpolloError(f"ready were {ready}, not only the active connection")
            near.recv(1)
    return times


def _summary(poller: str, idle: int, times: Sequence[float]) -> WakeUp:
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return WakeUp(poller, idle, idle + 1, None, len(times), median, lower, upper)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Disable garbage collection: it is not part of a poller's cost."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
