"""What a forked process does with the loops of its parent: it gives up all that both would share.

A fork copies every descriptor. The copies refer to the same sockets, so a peer would see no end of its
stream while a copy is open, and to the same epoll(7) instances and timers, so a process that unwinds
or that cleans up would take the sources of its parent away. Therefore each copy is replaced in the
child, before any other code runs there: numbers stay valid, and whatever still uses one harms nobody.
"""

from __future__ import annotations

import os
import select
import weakref
from collections.abc import Callable, Iterable

_GIVERS: weakref.WeakKeyDictionary[object, Callable[[object], object]] = (
    weakref.WeakKeyDictionary()
)


def give_up_in_child(owner: object, give_up: Callable[[object], object]) -> None:
    """Call ``give_up(owner)`` in each process that is forked while ``owner`` lives. A function of the
    class, not a bound method, which would keep ``owner`` alive."""
    _GIVERS[owner] = give_up


def replace_descriptors(descriptors: Iterable[int]) -> None:
    """Let ``descriptors`` refer to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in descriptors:
        os.dup2(null, fd, inheritable=False)
    os.close(null)


def replace_epoll(descriptor: int) -> None:
    """Let ``descriptor``, of an epoll instance, refer to a new one that watches nothing."""
    if hasattr(select, "epoll"):
        with select.epoll() as empty:
            os.dup2(empty.fileno(), descriptor, inheritable=False)


def _give_up() -> None:
    for owner, give_up in list(_GIVERS.items()):
        give_up(owner)


os.register_at_fork(after_in_child=_give_up)
