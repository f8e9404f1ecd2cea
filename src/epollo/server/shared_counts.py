"""What several processes count together: connections, in all and of each address; and rates.

The processes share memory, in which each has a cell of its own. Only its owner writes a cell, and
everybody adds up all of them. Python has no atomic operations, so to admit a connection a process
counts it first, then adds up, and takes it back if the sum is over the limit. Of two that do this
at the same moment, at least one sees the other's. So a limit is never exceeded; but both may refuse
a connection that had the last place.

An address has an entry in the cell of each process that has connections of it. A cell is a hash
table of rows of `_WAYS` entries, searched by the key, which is a hash that is secret to these
processes. An entry may be given to another address while a reader looks at it: so the reader looks
at the key once more.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from contextlib import suppress

from epollo.settings import Settings

_ROWS = 1 << 14
_WAYS = 8
ENTRIES = _ROWS * _WAYS  # addresses in a cell; before it is full, a row may be
_LEAST_CELLS = 64  # workers may be added, and those that drain have one too
_KEY, _FULL_AT, _COUNT = 8, 8, 4  # bytes
_TABLE = ENTRIES * (_KEY + _FULL_AT + _COUNT)  # a multiple of a page
_ROW = _WAYS * _KEY
_MASK = (1 << 64) - 1
_pack_key = struct.Struct("=Q").pack


class SharedCounts:
    """The memory, with ``cells`` cells. Made before the processes are forked, by their parent,
    which gives a cell to each, and clears it when the process has ended."""

    def __init__(self, cells: int, *, by_host: bool) -> None:
        self._cells = cells
        self._taken: set[int] = set()
        header = -(-8 * (1 + cells) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._tables_at = header
        self._by_host = by_host
        # Memory that nobody has written to is not there, and not counted as promised to us either.
        fd = os.memfd_create("epollo counts", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, header + by_host * cells * _TABLE)
            self.memory: mmap.mmap = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        self._view = memoryview(self.memory)
        self.used: memoryview = self._view[:8].cast("Q")  # cells to look at: those before this one
        self.open: memoryview = self._view[8 : 8 + 8 * cells].cast("Q")

    def take(self) -> int | None:
        """A cell for a process; None if there is none left."""
        for cell in range(self._cells):
            if cell not in self._taken:
                self._taken.add(cell)
                self._set_used()
                return cell
        return None

    def release(self, cell: int) -> None:
        """The process of ``cell`` has ended: its connections are closed."""
        self.open[cell] = 0
        if self._by_host:
            with suppress(OSError):
                self.memory.madvise(mmap.MADV_REMOVE, self._tables_at + cell * _TABLE, _TABLE)
        self._taken.discard(cell)
        self._set_used()

    def _set_used(self) -> None:
        self.used[0] = max(self._taken, default=-1) + 1

    def table(self, cell: int) -> HostTable:
        """The table of addresses in ``cell``."""
        return HostTable(self.memory, self._view, self._tables_at + cell * _TABLE)


def counts_for(settings: Settings) -> SharedCounts | None:
    """The counts that workers need, which serve with ``settings``; None if they need none."""
    by_host = bool(settings.max_per_ip or settings.max_connect_rate_per_ip)
    if not (by_host or settings.max_connections):
        return None
    return SharedCounts(max(_LEAST_CELLS, 4 * settings.workers), by_host=by_host)


class HostTable:
    """The entries of one cell."""

    def __init__(self, memory: mmap.mmap, view: memoryview, start: int) -> None:
        self._find = memory.find
        self._start = start
        ends = [start]
        for size in (_KEY, _FULL_AT, _COUNT):
            ends.append(ends[-1] + ENTRIES * size)
        self.keys: memoryview = view[ends[0] : ends[1]].cast("Q")
        self.full_at: memoryview[float] = view[ends[1] : ends[2]].cast("d")
        self.counts: memoryview = view[ends[2] : ends[3]].cast("I")

    def index(self, key: int) -> int:
        """The entry of ``key``; -1 if it has none."""
        packed = _pack_key(key)
        row = self._start + key % _ROWS * _ROW
        at = self._find(packed, row, row + _ROW)
        while at >= 0 and at % _KEY:  # the end of one key, and the beginning of the next one
            at = self._find(packed, at + 1, row + _ROW)
        return -1 if at < 0 else (at - self._start) // _KEY

    def new_index(self, key: int) -> int:
        """A free entry, which is now the one of ``key``; -1 if its row is full. Its owner only."""
        first, now = key % _ROWS * _WAYS, time.monotonic()
        for index in range(first, first + _WAYS):
            if not self.counts[index] and self.full_at[index] <= now:
                self.full_at[index] = 0.0
                self.keys[index] = key
                return index
        return -1


class Share:
    """The counts as one of the processes sees them, which owns ``cell``. In one thread."""

    def __init__(self, shared: SharedCounts, cell: int) -> None:
        self._shared = shared
        self._cell = cell
        self._open = shared.open
        self._used = shared.used
        self._tables: list[HostTable] = []
        self._fence = threading.Lock()

    def set_open(self, count: int) -> None:
        """This process has ``count`` open connections."""
        self._open[self._cell] = count

    def open(self) -> int:
        """Open connections of all processes."""
        self._order()
        return sum(self._open[: self._used[0]])

    def set_count(self, host: str, count: int) -> bool:
        """This process has ``count`` connections of ``host``. False if there is no entry for it:
        then the others do not know of them."""
        table, key = self._own_table(), _key_of(host)
        index = table.index(key)
        if index < 0 and count:
            index = table.new_index(key)
        if index >= 0:
            table.counts[index] = count
        return index >= 0 or not count

    def count(self, host: str) -> int:
        """Connections of ``host`` in the cells of all processes."""
        self._order()
        key, total = _key_of(host), 0
        for table in self._all_tables():
            index = table.index(key)
            if index >= 0:
                count = table.counts[index]
                if table.keys[index] == key:
                    total += count
        return total

    def set_full_at(self, host: str, full_at: float) -> bool:
        """The bucket of ``host`` will be full at that time.monotonic(), which all processes share.
        False if there is no entry for it."""
        table, key = self._own_table(), _key_of(host)
        index = table.index(key)
        if index < 0:
            index = table.new_index(key)
        if index >= 0:
            table.full_at[index] = full_at
        return index >= 0

    def full_at(self, host: str) -> float:
        """The latest such time that a process has set; 0 if none has."""
        key, latest = _key_of(host), 0.0
        for table in self._all_tables():
            index = table.index(key)
            if index >= 0:
                full_at = table.full_at[index]
                if table.keys[index] == key:
                    latest = max(latest, full_at)
        return latest

    def _order(self) -> None:
        """A memory barrier, as locks are: what this process has written is seen by the others
        before it reads what they have written."""
        with self._fence:
            pass

    def _own_table(self) -> HostTable:
        if len(self._tables) <= self._cell:
            self._all_tables()
        return self._tables[self._cell]

    def _all_tables(self) -> list[HostTable]:
        used: int = self._used[0]
        while len(self._tables) < max(used, self._cell + 1):
            self._tables.append(self._shared.table(len(self._tables)))
        return self._tables if len(self._tables) == used else self._tables[:used]


def _key_of(host: str) -> int:
    return hash(host) & _MASK or 1  # 0 is no key
