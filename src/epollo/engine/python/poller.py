"""Asking the kernel which descriptors are ready: epoll, poll, select, kqueue, with one face."""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Callable
from typing import Protocol, TypeAlias

from epollo.engine.events import READ, WRITE
from epollo.errors import EngineMissing, PollerFull

SELECT_LIMIT = 1024  # FD_SETSIZE, fixed when libc was compiled (select(2))

_Watch: TypeAlias = Callable[[int, int], None]  # a descriptor, for events
_Unwatch: TypeAlias = Callable[[int], None]


class Poller(Protocol):
    """What the loop asks of a poller."""

    name: str

    def register(self, fd: int, events: int, /) -> None:
        """Watch ``fd``. Raises PollerFull if it cannot be watched."""

    def modify(self, fd: int, events: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None, /) -> list[tuple[int, int]]:
        """Wait up to ``timeout`` seconds (None: for ever); the ready ones as (fd, events)."""

    def fileno(self) -> int:
        """A descriptor that is readable when one of those watched is ready.

        Raises EngineMissing if the poller has none.
        """

    def close(self) -> None: ...


class EpollPoller:
    """epoll(7): the kernel keeps the interest list and, at each wake-up, hands out the ready few.

    So a wake-up costs the same with 10 idle connections as with 10,000.
    """

    name = "epoll"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register: _Watch = self._epoll.register
        self.modify: _Watch = self._epoll.modify
        self.unregister: _Unwatch = self._epoll.unregister
        self.poll: Callable[[float | None], list[tuple[int, int]]] = self._epoll.poll
        self.fileno: Callable[[], int] = self._epoll.fileno
        self.close: Callable[[], None] = self._epoll.close


class PollPoller:
    """poll(2): every call carries the whole list into the kernel, which asks every descriptor."""

    name = "poll"

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register: _Watch = self._poll.register
        self.modify: _Watch = self._poll.modify
        self.unregister: _Unwatch = self._poll.unregister

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # Rounded up: half a millisecond rounded down to none would be a busy loop.
        return self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))

    def fileno(self) -> int:
        raise _no_descriptor(self.name)

    def close(self) -> None:
        """poll(2) holds nothing in the kernel."""


class SelectPoller:
    """select(2): like poll, in sets of 1024 bits; descriptor 1024 has no bit."""

    name = "select"

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def register(self, fd: int, events: int) -> None:
        if fd >= SELECT_LIMIT:
            raise PollerFull(
                f"select cannot watch descriptor {fd}, only those below {SELECT_LIMIT}; "
                "use --poller epoll or poll"
            )
        self.modify(fd, events)

    def modify(self, fd: int, events: int) -> None:
        (self._readers.add if events & READ else self._readers.discard)(fd)
        (self._writers.add if events & WRITE else self._writers.discard)(fd)

    def unregister(self, fd: int) -> None:
        self.modify(fd, 0)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        readers, writers, _ = select.select(self._readers, self._writers, (), timeout)
        ready = dict.fromkeys(readers, READ)
        for fd in writers:
            ready[fd] = ready.get(fd, 0) | WRITE
        return list(ready.items())

    def fileno(self) -> int:
        raise _no_descriptor(self.name)

    def close(self) -> None:
        self._readers.clear()
        self._writers.clear()


POLLERS: dict[str, Callable[[], Poller]] = {}
"""The pollers of this platform, the best one first."""

if hasattr(select, "epoll"):
    POLLERS["epoll"] = EpollPoller

if sys.platform != "linux" and hasattr(select, "kqueue"):

    class KqueuePoller:
        """kqueue(2), the BSDs' and macOS's epoll: one filter each for reading and for writing."""

        name = "kqueue"

        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self._events: dict[int, int] = {}
            self.fileno: Callable[[], int] = self._kqueue.fileno
            self.close: Callable[[], None] = self._kqueue.close

        def register(self, fd: int, events: int) -> None:
            self._events[fd] = 0
            self.modify(fd, events)

        def modify(self, fd: int, events: int) -> None:
            changed = self._events[fd] ^ events
            self._events[fd] = events
            changes = [
                select.kevent(fd, kind, select.KQ_EV_ADD if events & bit else select.KQ_EV_DELETE)
                for bit, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE))
                if changed & bit
            ]
            if changes:
                self._kqueue.control(changes, 0)

        def unregister(self, fd: int) -> None:
            self.modify(fd, 0)
            del self._events[fd]

        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            ready: dict[int, int] = {}
            for event in self._kqueue.control(None, 1023, timeout):
                bit = READ if event.filter == select.KQ_FILTER_READ else WRITE
                ready[event.ident] = ready.get(event.ident, 0) | bit
            return list(ready.items())

    POLLERS["kqueue"] = KqueuePoller

if hasattr(select, "poll"):
    POLLERS["poll"] = PollPoller

POLLERS["select"] = SelectPoller


def new_poller(name: str = "auto") -> Poller:
    """The poller of that name; ``auto`` is the best of the platform. Raises EngineMissing."""
    if name == "auto":
        name = next(iter(POLLERS))
    try:
        return POLLERS[name]()
    except KeyError:
        names = ", ".join(POLLERS)
        raise EngineMissing(f"no poller {name!r} on this machine; there are {names}") from None


def _no_descriptor(name: str) -> EngineMissing:
    return EngineMissing(f"a loop on {name} is no descriptor for another loop; use epoll")
