"""Whether a client is used in the process that made it."""

from __future__ import annotations

import os

from epollo.errors import UsageError


class _Process:
    """This process. A forked child makes itself another one (os.register_at_fork)."""

    current: object = object()

    @classmethod
    def forked(cls) -> None:
        cls.current = object()


os.register_at_fork(after_in_child=_Process.forked)


class Owner:
    """The process that made a client. Its sockets are shared with forked children: what a child
    sent would mix with what the parent sends, and the child would take the parent's replies."""

    __slots__ = ("_process",)

    def __init__(self) -> None:
        self._process = _Process.current

    @property
    def here(self) -> bool:
        return self._process is _Process.current

    def check(self) -> None:
        """Raises UsageError in a forked child."""
        if self._process is not _Process.current:
            raise UsageError("the client was made before a fork; make a new one in this process")
