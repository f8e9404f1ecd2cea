"""Limits on connections hold over all workers."""

from __future__ import annotations

import os
import signal
import struct
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.support import Peer, until
from tests.workers.support import GREETING, Supervised, supervised, write


def _enter(server: Supervised, source: str = "") -> tuple[Peer, int] | None:
    """A new connection and its worker; None if it is refused."""
    peer = Peer(server.address, source=source)
    try:
        return peer, int(peer.message().split()[1])
    except (OSError, struct.error):
        peer.close()
        return None


def _fill(server: Supervised, stack: ExitStack, tries: int = 30, source: str = "") -> list[int]:
    """Keep as many connections as are accepted, in so many tries; the worker of each."""
    entered = [each for _ in range(tries) if (each := _enter(server, source)) is not None]
    for peer, _ in entered:
        stack.callback(peer.close)
    return [worker for _, worker in entered]


def _fill_up(server: Supervised, stack: ExitStack, entered: list[int], most: int) -> None:
    """Connect until there are so many: the server has then seen that others have ended."""

    def filled() -> bool:
        entered.extend(_fill(server, stack, 8))
        return len(entered) >= most

    until(filled)
    assert len(entered) == most


@pytest.mark.parametrize("limit", ["--max-connections", "--max-per-ip"])
def test_a_limit_holds_over_all_workers(engine: Engine, tmp_path: Path, limit: str) -> None:
    write(tmp_path, 1, GREETING)
    with (
        supervised(tmp_path, *engine.flags, limit, "7", workers=3) as server,
        ExitStack() as stack,
    ):
        entered = _fill(server, stack)
        assert len(entered) == 7
        assert len(set(entered)) > 1
        assert _fill(server, stack) == []
        # A place is free again when a connection ends, whichever worker has the next one.
        stack.close()
        _fill_up(server, stack, [], 7)


def test_each_address_has_its_own_limit(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path, 1, GREETING)
    with (
        supervised(tmp_path, *engine.flags, "--max-per-ip", "2", workers=3) as server,
        ExitStack() as stack,
    ):
        for host in range(2, 40):
            assert len(_fill(server, stack, 6, f"127.0.0.{host}")) == 2
        for host in range(2, 40):
            assert _fill(server, stack, 3, f"127.0.0.{host}") == []


@pytest.mark.parametrize("limit", ["--max-connections", "--max-per-ip"])
def test_a_killed_worker_has_no_connections_left(tmp_path: Path, limit: str) -> None:
    write(tmp_path, 1, GREETING)
    with supervised(tmp_path, limit, "20", workers=3) as server, ExitStack() as stack:
        entered = Counter(_fill(server, stack, 60))
        assert entered.total() == 20
        victim, lost = entered.most_common()[0]
        os.kill(victim, signal.SIGKILL)
        server.logged(f"worker {victim} was killed by SIGKILL; another takes its place")
        server.logged(" serves", 4)
        assert len(_fill(server, stack, 60)) == lost
        assert _fill(server, stack) == []


def test_connections_of_workers_that_drain_count_too(tmp_path: Path) -> None:
    write(tmp_path, 1, GREETING)
    flags = ["--max-connections", "5", "--graceful-timeout", "20s", "--drain-quiet", "19s"]
    with supervised(tmp_path, *flags) as server, ExitStack() as stack:
        assert len(_fill(server, stack)) == 5
        server.signal(signal.SIGHUP)
        server.logged("reload done")
        assert _fill(server, stack) == []
        stack.close()
        until(lambda: len(server.workers) == 2)  # the old ones have ended
        assert len(_fill(server, stack)) == 5


@pytest.mark.parametrize("limit", ["--max-connections", "--max-per-ip"])
def test_a_limit_is_not_exceeded_in_a_rush(engine: Engine, tmp_path: Path, limit: str) -> None:
    """At the same moment, two workers may both refuse the last place: never both give it."""
    write(tmp_path, 1, GREETING)
    with (
        supervised(tmp_path, *engine.flags, limit, "10", workers=3) as server,
        ExitStack() as stack,
    ):
        for _ in range(5):
            entered: list[int] = []
            start = threading.Barrier(6)

            def rush(entered: list[int] = entered, start: threading.Barrier = start) -> None:
                start.wait()
                entered += _fill(server, stack, 8)

            threads = [threading.Thread(target=rush) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(entered) <= 10
            _fill_up(server, stack, entered, 10)
            stack.close()  # the server may see it during the next round
