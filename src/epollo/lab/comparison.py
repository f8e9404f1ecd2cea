"""epollo compared with other libraries: the same echo server on each, in turns on this machine.

Absolute rates drift by a factor of two within minutes. So the servers take turns, A B C A B C, and
ratios are taken within a round. Each turn starts a new server process.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epollo.descriptors import SPARE, all_descriptors, require
from epollo.engine import available
from epollo.lab.loading import Load, load
from epollo.lab.peers import PEERS
from epollo.lab.processes import running, two_cores

CONNECTIONS = 100
DEPTHS = (1, 16)
SIZE = 64  # bytes
SECONDS = 1.0
ROUNDS = 3
SATURATED = 0.9  # of a core; a server that used less could have served more


@dataclass(frozen=True, slots=True)
class ComparedServer:
    """An engine of epollo, or a peer. ``missing`` is the package to install for it, if any."""

    name: str
    label: str
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement of one server under one load; ``round`` counts from 1."""

    server: str
    depth: int
    round: int
    load: Load


@dataclass(frozen=True, slots=True)
class Median:
    """The median of a value over the rounds, with its range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Median:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of one run. Ratios are to ``base``, epollo's preferred engine."""

    connections: int
    depths: list[int]
    size: int  # bytes
    seconds: float
    rounds: int
    pinned: bool  # server and load have a core each
    servers: list[ComparedServer]
    turns: list[Turn]

    @property
    def base(self) -> ComparedServer:
        return self.servers[0]

    @property
    def measured(self) -> list[ComparedServer]:
        return [server for server in self.servers if server.missing is None]

    def loads(self, server: ComparedServer, depth: int) -> list[Load]:
        """The results of a server, by round."""
        return [t.load for t in self.turns if (t.server, t.depth) == (server.name, depth)]

    def rate(self, server: ComparedServer, depth: int) -> Median:
        """Messages a second."""
        return Median.of([found.rate for found in self.loads(server, depth)])

    def ratio(self, server: ComparedServer, depth: int) -> Median:
        """The server's rate over the base's, round by round."""
        pairs = zip(self.loads(server, depth), self.loads(self.base, depth), strict=True)
        return Median.of([found.rate / of_base.rate for found, of_base in pairs])

    def busy(self, server: ComparedServer, depth: int) -> float | None:
        """The median part of a core that the server used; None if unknown."""
        known = [found.busy for found in self.loads(server, depth) if found.busy is not None]
        return statistics.median(known) if known else None

    def cost(self, server: ComparedServer, depth: int) -> float | None:
        """The median CPU seconds that the server used for a message; None if unknown."""
        found = self.loads(server, depth)
        known = [load.busy / load.rate for load in found if load.busy is not None]
        return statistics.median(known) if known else None

    def limited_by_load(self, server: ComparedServer, depth: int) -> bool:
        """Was the load tester the limit, not the server?"""
        busy = self.busy(server, depth)
        return busy is not None and busy < SATURATED


def run_peers(
    connections: int = CONNECTIONS,
    depths: Sequence[int] = DEPTHS,
    size: int = SIZE,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    progress: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Measure every engine and every installed peer, each for ``seconds`` a round.

    Raises UsageError if there are too few descriptors, EpolloError if a server or its load fails.
    """
    servers, cores = compared_servers(), two_cores()
    result = Comparison(
        connections, list(depths), size, seconds, rounds, cores is not None, servers, []
    )
    with all_descriptors() as limit:
        require(connections + SPARE, limit, f"{connections:,} connections")
        for number in range(1, rounds + 1):
            for depth in depths:
                for server in result.measured:
                    progress(f"{server.label} at depth {depth}, round {number} of {rounds}")
                    found = _turn(server, (connections, depth, size), seconds, cores)
                    result.turns.append(Turn(server.name, depth, number, found))
    return result


def compared_servers() -> list[ComparedServer]:
    """Every engine, the preferred one first, then every peer, installed or not."""
    engines = [ComparedServer(name, f"epollo, {name} engine") for name in available()]
    peers = [ComparedServer(p.name, p.label, None if p.installed else p.needs) for p in PEERS]
    return engines + peers


def command(server: ComparedServer, size: int) -> Sequence[str]:
    """The command that starts it on a free port, for messages of ``size`` bytes."""
    for peer in PEERS:
        if peer.name == server.name:
            return peer.command
    max_frame = max(1 << 20, size + 16)
    serve = [sys.executable, "-m", "epollo", "serve", "--bind", "127.0.0.1:0"]
    serve += ["--engine", server.name, "--framing", "u32", "--graceful-timeout", "1s"]
    return [*serve, "--max-frame", str(max_frame), "--max-unsent", str(16 * max_frame)]


def _turn(
    server: ComparedServer,
    shape: tuple[int, int, int],
    seconds: float,
    cores: tuple[int, int] | None,
) -> Load:
    server_core, load_core = cores or (None, None)
    with running(server.label, command(server, shape[2]), server_core) as ready:
        return load(ready, load_core, shape, seconds)
