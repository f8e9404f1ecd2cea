"""Who gets which processor, and when: what is measured to the microsecond must not wait for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK  # sched(7): before all that is not real-time


def servers_core() -> int | None:
    """The core that is the server's alone; None where there is but one."""
    cores = os.sched_getaffinity(0)
    return max(cores) if len(cores) > 1 else None


def come_first() -> bool:
    """This thread runs as soon as it can, however busy the machine is; False: it may not. It must
    rest at times: the kernel takes a twentieth of each second for the others."""
    try:
        os.sched_setscheduler(0, _FIRST, os.sched_param(1))
    except PermissionError:
        return False
    return True


def waited() -> int:
    """How long this thread has waited for a core in its life, in ns (schedstats, second figure)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except OSError:
        return 0


@contextmanager
def leaving_the_servers_core(first: bool = True) -> Iterator[None]:
    """This thread keeps to the other cores, and comes first there: if it can rest at times."""
    cores, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores - {max(cores)})
    if first:
        come_first()
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.sched_setaffinity(0, cores)
