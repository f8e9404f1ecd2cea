"""glibc's malloc, in a process that is only there to serve.

As a rule it returns the free end of its heap to the kernel whenever a few MiB of that are free
(mallopt(3), M_TRIM_THRESHOLD). With large messages on many connections that happens all the time,
and the next messages take the pages again: up to 256 page faults for 1 MiB, which can cost more
than to receive and to send it (`python -m benchmarks.large`). So it is kept here, and returned
once a minute: seldom enough that the pause, some 10 ms for 100 MiB, is below what a 99.9th
percentile shows.
"""

from __future__ import annotations

import os
from ctypes import CDLL, c_void_p

from epollo.engine import EventLoop
from epollo.server.resident_memory import resident_bytes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_NEVER = (1 << 31) - 1  # bytes, the most that mallopt takes
_USUAL = 128 << 10  # bytes
_LARGEST = 32 << 20  # bytes, the most for this: a longer block is mapped, and unmapped when freed
_OWN = ("trim_threshold", "mmap_threshold", "top_pad")  # what a user may have tuned

_WORTH = 1 << 20  # bytes; if a search finds less, the next one comes later
_LONGEST = 64  # periods between two searches

PERIOD = 60.0  # seconds


def keep_freed(loop: EventLoop) -> None:
    """Keep freed memory from now on, and return it once a `PERIOD` while ``loop`` runs. Nothing is
    done with another libc, or if the environment tunes malloc in this respect."""
    libc = None if _tuned() else _glibc()
    if libc is None:
        return
    # To set either ends glibc's own adjustment of both, so both are set.
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    libc.malloc.restype, libc.free.argtypes = c_void_p, [c_void_p]
    _FreedMemory(loop, libc).wait()


def _glibc() -> CDLL | None:
    try:
        libc = CDLL(None)
    except OSError:  # a static program, of musl for example, loads nothing
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def _tuned() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(
        f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables
        for name in _OWN
    )


class _FreedMemory:
    """Freed memory goes back to the kernel. The end of the heap does each period: malloc looks for
    it when a large block is freed. What lies between blocks in use has to be searched for, which
    takes 50 ms with 100,000 free blocks: the less often, the less is found."""

    def __init__(self, loop: EventLoop, libc: CDLL) -> None:
        self._loop = loop
        self._libc = libc
        self._interval = self._left = 1  # periods from one search to the next, and until that

    def wait(self) -> None:
        self._loop.call_later(PERIOD, self._period_over)

    def _period_over(self) -> None:
        self._return_end()
        self._left -= 1
        if not self._left:
            self._search()
        self.wait()

    def _return_end(self) -> None:
        self._libc.mallopt(_TRIM_THRESHOLD, _USUAL)
        self._libc.free(self._libc.malloc(_USUAL))
        self._libc.mallopt(_TRIM_THRESHOLD, _NEVER)

    def _search(self) -> None:
        before = resident_bytes()
        self._libc.malloc_trim(0)
        much = before - resident_bytes() > _WORTH
        self._interval = self._left = 1 if much else min(2 * self._interval, _LONGEST)
