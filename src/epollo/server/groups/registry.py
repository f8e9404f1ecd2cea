"""Which connections are in which group."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from epollo.errors import ConnectionClosed
from epollo.framing import Buffer


class Member(Protocol):
    """What a group needs of a connection."""

    @property
    def closed(self) -> bool: ...
    def push(self, frame: bytes) -> None:
        """Queue ``frame``, in the loop's thread; does nothing once output is closed."""

    def send(self, message: Buffer) -> None:
        """Queue ``message``, in the framing that it has now. Raises EncodeError, and
        ConnectionClosed."""


class Groups:
    """The members of each group. From any thread, unless noted.

    A group exists while it has members. `join` checks under the lock that the member is open, so
    `forget`, which is called after the close, always removes it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may publish while it is held
        self._members: dict[str, dict[object, Member]] = {}  # in the order in which they joined
        self._joined: dict[object, set[str]] = {}
        self.reframed: set[object] = set()  # members whose framing is not the server's any more
        self.on_change: Callable[[str], object] | None = None
        """Is called with a group that gets its first member, or loses its last, in the order in
        which that happens; under the lock, so it must not wait."""

    def join(self, group: str, member: Member) -> None:
        """Add ``member`` to ``group``; no error if it is in it. Raises ConnectionClosed."""
        with self._lock:
            if member.closed:
                raise ConnectionClosed(f"{member!r} cannot join a group")
            is_new = group not in self._members
            self._members.setdefault(group, {})[member] = member
            self._joined.setdefault(member, set()).add(group)
            if is_new and self.on_change is not None:
                self.on_change(group)

    def leave(self, group: str, member: Member) -> None:
        """Remove ``member`` from ``group``; no error if it is not in it."""
        with self._lock:
            joined = self._joined.get(member, set())
            if group in joined:
                joined.remove(group)
                self._remove(group, member)
            if not joined:
                self._joined.pop(member, None)

    def forget(self, member: object) -> None:
        """``member`` is closed: remove it from all its groups."""
        with self._lock:
            self.reframed.discard(member)
            for group in self._joined.pop(member, ()):
                self._remove(group, member)

    def of(self, member: object) -> frozenset[str]:
        """The groups that ``member`` is in."""
        with self._lock:
            return frozenset(self._joined.get(member, ()))

    def reframe(self, member: object) -> None:
        """``member`` has another framing than the server's now."""
        with self._lock:
            self.reframed.add(member)

    def count_of(self, member: object) -> int:
        """How many groups ``member`` is in."""
        return len(self._joined.get(member, ()))

    def has(self, group: str) -> bool:
        """Has ``group`` members?"""
        return group in self._members

    def names(self) -> Sequence[str]:
        """All groups that have members now."""
        with self._lock:
            return tuple(self._members)

    def members(self, group: str) -> tuple[Member, ...]:
        """The members of ``group`` now."""
        with self._lock:
            return tuple(self._members.get(group, {}).values())

    def _remove(self, group: str, member: object) -> None:
        members = self._members[group]
        del members[member]
        if not members:
            del self._members[group]
            if self.on_change is not None:
                self.on_change(group)
