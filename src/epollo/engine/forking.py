"""What a forked process does with the descriptors of its parent's loops: it gives them up.

A fork copies every descriptor. The copies refer to the same sockets, so a peer would see no end of
its stream while one is open. They refer to the same epoll(7) instances and timers, so a process
that cleans up would take those from its parent. Therefore the child closes its copies of sockets,
and replaces the others, before any other code runs there: what still uses their numbers harms
nobody.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable


def replace_descriptors(descriptors: Iterable[int]) -> None:
    """Let ``descriptors`` refer to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in descriptors:
        if fd >= 0:
            os.dup2(null, fd, inheritable=False)
    os.close(null)


def replace_epoll(descriptor: int) -> None:
    """Let ``descriptor``, of an epoll instance, refer to a new one that watches nothing."""
    if hasattr(select, "epoll") and descriptor >= 0:
        with select.epoll() as empty:
            os.dup2(empty.fileno(), descriptor, inheritable=False)


def forget_wakeup() -> None:
    """A signal to this process must not write to the descriptor that wakes its parent."""
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:  # not in the main thread
        pass
