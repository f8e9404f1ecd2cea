"""Many clients connect at once to a busy server: how many get a reply, by the length of the queue.

Only a reply counts. The kernel completes handshakes without the server. With SYN cookies it also
completes them when the queue is full, and then keeps no state of the client: a successful connect
does not prove that the server will serve it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from epollo.descriptors import SPARE, all_descriptors, require
from epollo.engine import new_loop
from epollo.lab.busy_server import BusyServer, busy_server
from epollo.lab.clients import Attempt, connect_at_once, wait_for_replies
from epollo.lab.kernel import difference, tcp_counters, tcp_settings

QUEUES = (1, 10, 100, 2048)
CLIENTS = 100
BUSY = 0.3  # seconds
WAIT = 10.0  # seconds
PROMPT = 1.0  # seconds until the first SYN is sent again (RFC 6298, 2.1)


@dataclass(frozen=True, slots=True)
class QueueResult:
    """The clients' results with one accept queue; times in seconds."""

    queue: int  # the length asked for
    length: int  # the kernel's length, at most somaxconn
    wait: float  # the longest that clients waited for a reply
    started: float  # the time that starting all clients took
    attempts: list[Attempt]
    counters: dict[str, int]  # growth of the kernel's counters meanwhile

    @property
    def clients(self) -> int:
        return len(self.attempts)

    @property
    def prompt(self) -> int:
        """Clients that had a reply within a second."""
        return sum(a.replied is not None and a.replied <= PROMPT for a in self.attempts)

    @property
    def late(self) -> int:
        """Clients that had a reply after more than a second."""
        return sum(a.replied is not None and a.replied > PROMPT for a in self.attempts)

    @property
    def never(self) -> int:
        """Clients that had no reply within ``wait``."""
        return sum(a.replied is None for a in self.attempts)

    @property
    def connected(self) -> int:
        """Clients whose connect succeeded, served or not."""
        return sum(a.connected is not None for a in self.attempts)

    @property
    def connected_unserved(self) -> int:
        """Clients whose connect succeeded and that had no reply within ``wait``."""
        return sum(a.connected is not None and a.replied is None for a in self.attempts)

    @property
    def last_reply(self) -> float | None:
        return max((a.replied for a in self.attempts if a.replied is not None), default=None)

    def connected_by(self, seconds: float) -> int:
        """Clients whose connect had succeeded after ``seconds``."""
        return sum(a.connected is not None and a.connected <= seconds for a in self.attempts)

    def replied_by(self, seconds: float) -> int:
        """Clients that had their reply after ``seconds``."""
        return sum(a.replied is not None and a.replied <= seconds for a in self.attempts)


@dataclass(frozen=True, slots=True)
class BacklogResult:
    """The figures of one run of the experiment."""

    clients: int
    busy: float  # seconds
    settings: dict[str, int]  # of the kernel
    results: list[QueueResult]


def run_backlog(
    queues: Sequence[int] = QUEUES,
    clients: int = CLIENTS,
    busy: float = BUSY,
    wait: float = WAIT,
    progress: Callable[[str], object] = lambda _: None,
) -> BacklogResult:
    """Let ``clients`` connect at once to a server that is ``busy`` (seconds), queue by queue.

    Each queue takes ``wait`` seconds, or less if all clients have a reply sooner. Raises UsageError
    if there are too few descriptors, EpolloError if the server does not start.
    """
    settings = tcp_settings()
    results = []
    with all_descriptors() as limit:
        require(clients + SPARE, limit, f"{clients:,} clients")
        for queue in sorted(queues):
            progress(f"{clients:,} clients at an accept queue of {queue:,}")
            with busy_server(queue, busy) as server:
                results.append(_measure(server, queue, clients, wait))
    return BacklogResult(clients, busy, settings, results)


def _measure(server: BusyServer, queue: int, count: int, wait: float) -> QueueResult:
    before = tcp_counters()
    with closing(new_loop()) as loop:
        server.begin()
        start = time.monotonic()
        clients = connect_at_once(loop, server.address, count)
        started = time.monotonic() - start
        wait_for_replies(loop, clients, start + wait)
        counters = difference(before, tcp_counters())
        attempts = [client.attempt for client in clients]
    length = min(queue, tcp_settings().get("somaxconn", queue))
    return QueueResult(queue, length, wait, started, attempts, counters)
