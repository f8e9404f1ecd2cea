"""glibc's malloc, in a process that is only there to serve.

As a rule it returns the end of its heap to the kernel whenever a few MiB of that are free
(mallopt(3), M_TRIM_THRESHOLD). With large messages on many connections that happens all the time,
and the next messages take the pages again: up to 256 page faults for 1 MiB, which can cost more
than to receive and to send it (`python -m benchmarks.large`). So freed memory is kept here, and
returned once a minute: seldom enough that the pause, tens of milliseconds for a heap of 100 MiB,
is below what a 99.9th percentile shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ctypes import CDLL

from epollo.engine import EventLoop

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_NEVER = (1 << 31) - 1  # bytes, the most that mallopt takes
_LARGEST = 32 << 20  # bytes, the most for this: a longer block is mapped, and unmapped when freed
_OWN = ("trim_threshold", "mmap_threshold", "top_pad")  # what a user may have tuned

PERIOD = 60.0  # seconds


def keep_freed(loop: EventLoop) -> None:
    """Keep freed memory from now on, and return it once a `PERIOD` while ``loop`` runs. Nothing is
    done with another libc, or if the environment tunes malloc in this respect."""
    libc = CDLL(None)
    if _tuned() or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        return
    # To set either ends glibc's own adjustment of both, so both are set.
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    _return_in_turns(loop, libc.malloc_trim)


def _tuned() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(
        f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables
        for name in _OWN
    )


def _return_in_turns(loop: EventLoop, trim: Callable[[int], object]) -> None:
    def turn() -> None:
        trim(0)
        loop.call_later(PERIOD, turn)

    loop.call_later(PERIOD, turn)
