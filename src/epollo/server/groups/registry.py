"""Groups: connections by name, so that one message goes to all of them."""

from __future__ import annotations

import threading
from typing import Protocol

from epollo.errors import ConnectionClosed


class Member(Protocol):
    """What a group asks of a connection."""

    @property
    def closed(self) -> bool: ...
    def push(self, frame: bytes) -> None:
        """Queue ``frame``, in the loop's thread; nothing where the connection takes no more."""


class Groups:
    """Who is in which group. From any thread, except where said.

    A group is there while it has members. The lock orders a join against the end of the
    connection: whoever is seen open while it is held is still to be forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may publish where its thread holds it
        self._members: dict[str, dict[object, Member]] = {}  # in the order in which they joined
        self._joined: dict[object, set[str]] = {}

    def join(self, group: str, member: Member) -> None:
        """Make ``member`` one of ``group``; again is no error. Raises ConnectionClosed."""
        with self._lock:
            if member.closed:
                raise ConnectionClosed(f"{member!r} can join no group")
            self._members.setdefault(group, {})[member] = member
            self._joined.setdefault(member, set()).add(group)

    def leave(self, group: str, member: Member) -> None:
        """Make ``member`` none of ``group``, where it was one."""
        with self._lock:
            joined = self._joined.get(member, set())
            if group in joined:
                joined.remove(group)
                self._remove(group, member)
            if not joined:
                self._joined.pop(member, None)

    def forget(self, member: object) -> None:
        """``member`` is closed: it leaves all its groups."""
        with self._lock:
            for group in self._joined.pop(member, ()):
                self._remove(group, member)

    def of(self, member: object) -> frozenset[str]:
        """The groups that ``member`` is in."""
        with self._lock:
            return frozenset(self._joined.get(member, ()))

    def members(self, group: str) -> tuple[Member, ...]:
        """Who is in ``group`` now."""
        with self._lock:
            return tuple(self._members.get(group, {}).values())

    def push(self, group: str, frame: bytes, exclude: object = None) -> None:
        """Queue ``frame`` to the members of ``group``, in the loop's thread."""
        for member in self.members(group):
            if member is not exclude:
                member.push(frame)

    def _remove(self, group: str, member: object) -> None:
        members = self._members[group]
        del members[member]
        if not members:
            del self._members[group]
