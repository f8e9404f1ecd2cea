"""The search finds the edge of a real server whose edge is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from epollo import Server
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
