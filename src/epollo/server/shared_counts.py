"""What several processes count together: open connections, in all and of each address.

The processes share memory, in which each has a cell of its own. Only its owner writes a cell, and
everybody adds up all of them. Python has no atomic operations, so to admit a connection a process
counts it first, then adds up, and takes it back if the sum is over the limit. Of two that do this
at the same moment, at least one sees the other's. So a limit is never exceeded; but both may refuse
a connection that had the last place.

An address has an entry in the cell of each process that has had connections of it: a key, which is
a hash that is secret to these processes, and a count. The entries of a cell are a hash table with
rows of `_WAYS` entries. An entry that counts nothing may be given to another address, but not
emptied: so the first empty one ends the search in a row. If an entry is given away while a reader
looks at it, the reader counts too many, and may refuse one connection that it need not.
"""

from __future__ import annotations

import mmap
import os
import threading

from epollo.settings import Settings

_ROWS = 1 << 15
_WAYS = 8
ENTRIES = _ROWS * _WAYS  # addresses of one process; before all are in use, a row may be
_LEAST_CELLS = 16  # workers may be added, and those that drain have one too
_ROW_BITS = _ROWS - 1
_WORDS = 2 * _WAYS  # in a row: of each entry its key, then its count
_TABLE = 2 * ENTRIES


class SharedCounts:
    """The memory, with ``cells`` cells. Made before the processes are forked, by their parent,
    which gives a cell to each, and clears it when the process has ended."""

    def __init__(self, cells: int, *, by_host: bool) -> None:
        self.cells: int = cells
        self._taken: set[int] = set()
        self._by_host = by_host
        entries = cells * ENTRIES if by_host else 0
        sizes = [mmap.PAGESIZE, 8 * cells, 2 * 8 * entries]
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] - -size // mmap.PAGESIZE * mmap.PAGESIZE)
        # Of a memfd, the system provides only the pages that were written to.
        fd = os.memfd_create("epollo counts", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, starts[-1])
            self._memory = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        whole = memoryview(self._memory)
        parts = [whole[at : at + size] for at, size in zip(starts, sizes, strict=False)]
        self._tables_at = starts[2]
        self.used: memoryview = parts[0][:8].cast("Q")  # cells to look at: those before this one
        self.open: memoryview = parts[1].cast("Q")
        self.entries: memoryview = parts[2].cast("q")  # of each its key, then its count

    def take(self) -> int | None:
        """A cell for a process; None if there is none left."""
        free = (cell for cell in range(self.cells) if cell not in self._taken)
        cell = next(free, None)
        if cell is not None:
            self._taken.add(cell)
            self._set_used()
        return cell

    def release(self, cell: int) -> None:
        """The process of ``cell`` has ended: its connections are closed."""
        self.open[cell] = 0
        if self._by_host:
            size = _TABLE * 8  # whole pages
            start = self._tables_at + cell * size
            try:
                self._memory.madvise(mmap.MADV_REMOVE, start, size)
            except OSError:  # a system that cannot give pages back
                self._memory[start : start + size] = bytes(size)
        self._taken.discard(cell)
        self._set_used()

    def _set_used(self) -> None:
        self.used[0] = max(self._taken, default=-1) + 1


def counts_for(settings: Settings) -> SharedCounts | None:
    """The counts that workers need, which serve with ``settings``; None if they need none."""
    if not (settings.max_connections or settings.max_per_ip):
        return None
    cells = max(_LEAST_CELLS, 4 * settings.workers)
    return SharedCounts(cells, by_host=bool(settings.max_per_ip))


class Cell:
    """The counts of one process, which owns the cell at ``index``. In one thread."""

    def __init__(self, shared: SharedCounts, index: int) -> None:
        self._index = index
        self._used = shared.used
        self._open = shared.open
        self._entries = shared.entries
        self._own_table = _TABLE * index
        # A lock, taken and released between a write and a read, is a memory barrier: others see
        # what was written before this process reads what they have written.
        lock = threading.Lock()
        self._acquire, self._release = lock.acquire, lock.release

    def set_open(self, count: int) -> None:
        """This process has ``count`` open connections."""
        self._open[self._index] = count

    def admits(self, count: int, most: int) -> bool:
        """May this process have ``count`` open connections, one more than before, if all together
        may have ``most``? Then they are counted."""
        self._open[self._index] = count
        self._acquire()
        self._release()
        if sum(self._open[: self._used[0]]) <= most:
            return True
        self._open[self._index] = count - 1
        return False

    def admits_host(self, host: str, count: int, most: int) -> bool | None:
        """The same for the connections of ``host``. None if no entry is left: then they are not
        counted, and the others do not know of them."""
        key, entries = hash(host) or 1, self._entries  # 0 is no key
        row = (key & _ROW_BITS) * _WORDS
        at = self._own_table + row
        if entries[at] != key:
            at = self._own_entry(key, at)
            if at < 0:
                return None
        entries[at + 1] = count
        self._acquire()
        self._release()
        total = 0
        for start in range(row, self._used[0] * _TABLE, _TABLE):
            there = entries[start]
            if there == key:
                total += entries[start + 1]
            elif there and (found := self._search(key, start)) >= 0:
                total += entries[found + 1]
        if total <= most:
            return True
        entries[at + 1] = count - 1
        return False

    def set_host(self, host: str, count: int) -> None:
        """This process has ``count`` connections of ``host``: fewer than before."""
        key = hash(host) or 1
        at = self._own_table + (key & _ROW_BITS) * _WORDS
        if self._entries[at] != key:
            at = self._search(key, at)
        if at >= 0:
            self._entries[at + 1] = count

    def _search(self, key: int, first: int) -> int:
        """Where the entry of ``key`` is, in the row that begins at ``first``; -1 if it has none."""
        for at in range(first, first + _WORDS, 2):
            there = self._entries[at]
            if there == key:
                return at
            if not there:
                break
        return -1

    def _own_entry(self, key: int, first: int) -> int:
        """As `_search`, but if it has none, it gets a free one; -1 if there is no such either."""
        at = self._search(key, first)
        if at >= 0:
            return at
        for at in range(first, first + _WORDS, 2):
            if not self._entries[at + 1]:
                self._entries[at] = key
                return at
        return -1
