"""The search finds the edge of a real server whose edge is known, and waits for one to recover."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from epollo import Connection, Server
from epollo.bench import Workload, find_rate
from epollo.bench.search import Probe


def held_loop() -> Callable[[bytes], bytes]:
    """Each message takes 1 ms of the loop: 1000 a second, of which none is lost where the machine
    has held it up for less than 10 ms."""
    free = 0.0

    def handle(message: bytes) -> bytes:
        nonlocal free
        now = time.monotonic()
        free = max(now - 0.01, free) + 0.001
        time.sleep(max(0.0, free - now))
        return message

    return handle


def test_the_edge_of_a_server_that_does_a_thousand_a_second() -> None:
    probes: list[Probe] = []
    with Server(held_loop(), "127.0.0.1:0") as server:
        load = Workload(address=server.addresses[0], connections=5, rate=600)
        load = replace(load, duration=1.0, warmup=0.1)
        search = find_rate(load, "p50<10ms", progress=probes.append, tolerance=0.1)
    assert search.rate is not None
    assert 800 <= search.rate <= 1100
    assert probes == search.probes


class Backlog:
    """Accepts every message, and answers them one after the other at a fixed rate. A connection
    that closes does not shorten its queue."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free = 0.0

    def received(self, message: bytes, connection: Connection) -> None:
        now = time.monotonic()
        self.free = max(self.free, now) + 1 / self.rate
        later = connection.loop.call_later  # type: ignore[attr-defined]
        later(self.free - now, partial(self.answer, message, connection))

    def answer(self, message: bytes, connection: Connection) -> None:
        if not connection.closed:
            connection.send(message)


class Enough(Exception):
    """The test has seen what it needs."""


def test_a_probe_begins_when_the_server_has_recovered_from_the_one_before() -> None:
    server, probes = Backlog(150), []

    def look(probe: Probe) -> None:
        probes.append(probe)
        if len(probes) > 1 and probes[-2].rate > server.rate:
            raise Enough

    with Server(server, "127.0.0.1:0") as at:
        load = Workload(address=at.addresses[0], connections=2, duration=0.3, warmup=0, timeout=0.1)
        with pytest.raises(Enough):
            find_rate(load, "p99<100ms", progress=look)
    assert probes[-1].result.first_reply.total == 2, "each connection was served within the timeout"
