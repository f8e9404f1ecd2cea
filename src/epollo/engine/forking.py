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
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol


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


class Forkable(Protocol):
    """What a forked process gives up at once."""

    def give_up(self) -> None:
        """This process was forked from its own: leave all that it has to that one."""


class ForkableLoop(Forkable, Protocol):
    """A loop, which a forked process gives up if it was used."""

    @property
    def closed(self) -> bool: ...
    @property
    def used(self) -> bool:
        """Has it something that only one process can use?"""

    def replace_inherited(self) -> None:
        """The rest of `give_up`, which may need a free descriptor."""

    def renew(self) -> None:
        """It was not used: wait with descriptors of its own."""


LOOPS: weakref.WeakSet[ForkableLoop] = weakref.WeakSet()

OTHERS: weakref.WeakSet[Forkable] = weakref.WeakSet()
"""What runs loops that are not the engine's."""


def _give_up_all() -> None:
    open_loops = [loop for loop in list(LOOPS) if not loop.closed]
    used = [loop for loop in open_loops if loop.used]
    for loop in used:
        attempt(loop.give_up)
    for loop in used:  # afterwards: it takes a free descriptor, and there may have been none
        attempt(loop.replace_inherited)
    for loop in open_loops:
        if not loop.used:
            attempt(loop.renew)
    if used:
        _forget_wakeup()
    for other in list(OTHERS):
        attempt(other.give_up)


def _forget_wakeup() -> None:
    """A signal to this process must not write to the descriptor that wakes its parent."""
    try:
        signal.set_wakeup_fd(-1)
    except ValueError:  # not in the main thread
        pass


os.register_at_fork(after_in_child=_give_up_all)
