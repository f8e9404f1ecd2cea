"""Whether a client is used in the process that made it."""

from __future__ import annotations

import os

from epollo.errors import UsageError


class _Process:
    """This process. A forked child makes itself another one (os.register_at_fork)."""

    current: object = object()
    children = 0  # that it has forked

    @classmethod
    def forked(cls) -> None:
        cls.current = object()

    @classmethod
    def has_child(cls) -> None:
        cls.children += 1


os.register_at_fork(after_in_child=_Process.forked, after_in_parent=_Process.has_child)


class Owner:
    """The process that made a client. Its sockets are shared with forked children: what a child
    sent would mix with what the parent sends, and the child would take the parent's replies."""

    __slots__ = ("_children", "_process")

    def __init__(self) -> None:
        self._process = _Process.current
        self._children = _Process.children

    @property
    def here(self) -> bool:
        return self._process is _Process.current

    @property
    def shares(self) -> bool:
        """Is this that process, and has it forked a child since?"""
        return self.here and self._children != _Process.children

    def check(self) -> None:
        """Raises UsageError in a forked child."""
        if self._process is not _Process.current:
            raise UsageError("the client was made before a fork; make a new one in this process")
