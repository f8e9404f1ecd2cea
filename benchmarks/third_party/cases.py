"""What is measured: pairs of testers that load one server alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from benchmarks.load import Window
from benchmarks.third_party import servers
from benchmarks.third_party.servers import Serve
from benchmarks.third_party.testers import (
    Values,
    epollo_on_redis,
    epollo_on_sockperf,
    redis_benchmark,
    sockperf,
)

Measure: TypeAlias = Callable[[int, Window], Values]
"""Takes the port of the server."""

EPOLLO = "epollo bench"
SOCKPERF = "sockperf"
REDIS = "redis-benchmark"
RATE = 5000  # messages a second of the open loop


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and how another's tester and ours load it.

    Attributes:
        name: as the tables have it.
        other: the name of the other tester.
        serve: the server.
        theirs, ours: the two measurements.
    """

    name: str
    other: str
    serve: Serve
    theirs: Measure
    ours: Measure

    @property
    def pair(self) -> tuple[tuple[str, Measure], tuple[str, Measure]]:
        """The testers, by name."""
        return (self.other, self.theirs), (EPOLLO, self.ours)


def redis_case(clients: int, depth: int) -> Case:
    """Return the case of so many clients, each with so many messages outstanding."""
    noun = "connection" if clients == 1 else "connections"
    return Case(
        f"closed loop, {clients} {noun}, depth {depth}",
        REDIS,
        servers.redis,
        partial(redis_benchmark, clients, depth),
        partial(epollo_on_redis, clients, depth),
    )


def ping_pong(port: int, window: Window) -> Values:
    """Send the next message when the reply has come."""
    return sockperf("ping-pong", port, window)


def under_load(port: int, window: Window) -> Values:
    """Send by the clock."""
    return sockperf("under-load", port, window, "--mps", str(RATE), "--reply-every", "1")


def by_the_clock(port: int, window: Window) -> Values:
    """The same with ours."""
    return epollo_on_sockperf(port, window, "--rate", str(RATE))


CASES = (
    Case(
        "closed loop, 1 connection, depth 1",
        SOCKPERF,
        servers.sockperf,
        ping_pong,
        epollo_on_sockperf,
    ),
    Case(
        f"open loop, 1 connection, {RATE:,} messages/s",
        SOCKPERF,
        servers.sockperf,
        under_load,
        by_the_clock,
    ),
    redis_case(1, 1),
    redis_case(50, 1),
    redis_case(50, 16),
)
