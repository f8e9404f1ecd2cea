"""Counts that several processes share: sums over their cells, and never one over a limit."""

from __future__ import annotations

import os
from pathlib import Path

from epollo.engine import Connection
from epollo.reasons import Refusal
from epollo.server.counters import Counters
from epollo.server.limits import ConnectionLimiter
from epollo.server.shared_counts import _WAYS, ENTRIES, Cell, SharedCounts
from tests.logs import Log
from tests.support import in_a_fork


def _shares(count: int = 2, *, by_host: bool = True) -> tuple[SharedCounts, list[Cell]]:
    shared = SharedCounts(count, by_host=by_host)
    cells = [shared.take() for _ in range(count)]
    assert cells == list(range(count))
    assert shared.take() is None
    return shared, [Cell(shared, cell) for cell in range(count)]


def test_the_limit_is_on_the_sum() -> None:
    _, (one, other) = _shares(by_host=False)
    assert one.admits(1, 3)
    assert other.admits(1, 3)
    assert one.admits(2, 3)
    assert not other.admits(2, 3)
    one.set_open(1)
    assert other.admits(2, 3)


def test_another_process_counts_too() -> None:
    _, (one, other) = _shares()

    def use() -> None:
        assert one.admits(3, 3)
        assert one.admits_host("192.0.2.1", 3, 3)

    in_a_fork(use)
    assert not other.admits(1, 3)
    assert other.admits_host("192.0.2.1", 1, 3) is False
    assert other.admits_host("192.0.2.2", 1, 3) is True


def test_a_cell_that_is_released_counts_nothing() -> None:
    shared, (one, other) = _shares()
    assert one.admits(3, 3)
    for number in range(1000):
        assert one.admits_host(f"host {number}", 3, 3)
    shared.release(0)
    assert other.admits(3, 3)
    for number in range(1000):
        assert other.admits_host(f"host {number}", 3, 3)
    other.set_open(0)
    assert shared.take() == 0
    assert Cell(shared, 0).admits(3, 3)


def test_many_addresses_each_have_their_own_count() -> None:
    _, (one, other) = _shares()
    hosts = [f"2001:db8::{number:x}" for number in range(20_000)]
    for host in hosts:
        assert one.admits_host(host, 1, 2)
        assert other.admits_host(host, 1, 2)
    for host in hosts:
        assert one.admits_host(host, 2, 2) is False
        other.set_host(host, 0)
        assert one.admits_host(host, 2, 2)
        assert other.admits_host(host, 1, 2) is False


def _of_one_row(count: int) -> list[str]:
    """Addresses whose entries are in one row."""
    rows = ENTRIES // _WAYS
    row, found, number = hash("first") % rows, ["first"], 0
    while len(found) < count:
        number += 1
        if hash(str(number)) % rows == row:
            found.append(str(number))
    return found


def test_entries_of_a_row_are_used_again_and_keep_their_counts() -> None:
    _, (one, other) = _shares()
    *hosts, last = _of_one_row(_WAYS + 1)
    for host in hosts:
        assert one.admits_host(host, 1, 2)
    assert one.admits_host(last, 1, 2) is None  # the row is full
    assert other.admits_host(last, 1, 2)  # here it is not
    one.set_host(hosts[3], 0)
    assert one.admits_host(last, 1, 2)
    assert other.admits_host(last, 2, 2) is False
    for host in hosts:
        assert other.admits_host(host, 2, 2) is (host is hosts[3])
        other.set_host(host, 0)


class _Connection:
    closed = False


def test_a_connection_that_cannot_be_served_gives_its_place_back(log: Log) -> None:
    _, shares = _shares()
    one, other = (
        ConnectionLimiter(Counters(), max_connections=1, max_per_ip=1, cell=share)
        for share in shares
    )
    assert one.refusal("192.0.2.1") is None
    assert other.refusal("192.0.2.1") is Refusal.MAX_CONNECTIONS
    one.withdraw("192.0.2.1")
    assert other.refusal("192.0.2.1") is None
    other.counters.accepted += 1
    connection: Connection = _Connection()  # type: ignore[assignment]
    other.add(connection, "192.0.2.1")
    assert one.refusal("192.0.2.1") is Refusal.MAX_CONNECTIONS
    other.remove(connection)
    other.counters.count_refused(Refusal.POLLER)
    other.settle()
    assert one.refusal("192.0.2.1") is None


def test_one_that_is_refused_for_its_address_has_no_place(log: Log) -> None:
    _, shares = _shares()
    one, other = (
        ConnectionLimiter(Counters(), max_connections=2, max_per_ip=1, cell=share)
        for share in shares
    )
    assert one.refusal("192.0.2.1") is None
    one.counters.accepted += 1
    one.add(_Connection(), "192.0.2.1")  # type: ignore[arg-type]
    assert other.refusal("192.0.2.1") is Refusal.MAX_PER_IP
    assert other.refusal("192.0.2.2") is None


def test_an_address_without_an_entry_is_counted_alone_and_logged(log: Log) -> None:
    _, (share, _) = _shares()
    limiter = ConnectionLimiter(Counters(), max_per_ip=1, cell=share)
    *hosts, last = _of_one_row(_WAYS + 1)
    for host in hosts:
        assert limiter.refusal(host) is None
    for expected in (None, Refusal.MAX_PER_IP):
        assert limiter.refusal(last) is expected
        limiter.add(_Connection(), last)  # type: ignore[arg-type]
    assert log.take() == [
        f"connections of {last} are counted by this worker alone: the table is full"
    ]


def _shared_memory() -> int:
    """Bytes that this process has of shared memory and of files (proc(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[2])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_taken_as_it_is_used() -> None:
    """A thousand workers with a table each would be gigabytes."""
    before = _shared_memory()
    shared = SharedCounts(1024, by_host=True)
    cell = shared.take()
    assert cell is not None
    assert Cell(shared, cell).admits_host("192.0.2.1", 1, 1)
    after = _shared_memory()
    assert after - before < 1 << 20
