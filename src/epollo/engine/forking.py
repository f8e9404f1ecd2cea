"""What a forked process does with the descriptors of its parent's loops: it gives them up.

A fork copies every descriptor. The copies refer to the same sockets, so a peer would see no end of
its stream while one is open. They refer to the same epoll(7) instances and timers, so a process
that cleans up would take those from its parent. Therefore the child closes its copies of sockets,
and replaces the others, before any other code runs there: what still uses their numbers harms
nobody.

A loop that nobody has used yet is no part of this: a program may start a server, fork, and run it
in the child, as daemons do. The child has the same listeners, and waits for them by itself.
"""

from __future__ import annotations

import os
import select
import signal
import traceback
from collections.abc import Callable, Iterable


def replace_descriptors(descriptors: Iterable[int]) -> None:
    """Let ``descriptors`` refer to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in descriptors:
        if fd >= 0:
            os.dup2(null, fd, inheritable=False)
    os.close(null)


def replace_epoll(descriptor: int, watched: Iterable[int] = ()) -> None:
    """Let ``descriptor``, of an epoll instance, refer to a new one, which watches whether those of
    ``watched`` are readable."""
    if hasattr(select, "epoll") and descriptor >= 0:
        with select.epoll() as fresh:
            for fd in watched:
                fresh.register(fd, select.EPOLLIN)
            os.dup2(fresh.fileno(), descriptor, inheritable=False)


def attempt(step: Callable[[], object]) -> None:
    """Call ``step``; its error is printed, since no code of the user's could take it, and the steps
    that follow are due all the same."""
    try:
        step()
    except BaseException:
        traceback.print_exc()


def forget_wakeup() -> None:
    """A signal to this process must not write to the descriptor that wakes its parent."""
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:  # not in the main thread
        pass
