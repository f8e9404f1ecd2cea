"""One call of a blocking client at a time."""

from __future__ import annotations

import threading

from epollo.client.forks import Owner
from epollo.errors import UsageError


class Call:
    """Held during each call of a client. Raises UsageError in a second thread and in a forked
    child; a callback may use the client within a call."""

    __slots__ = ("_acquire", "_owner", "_release")

    def __init__(self, owner: Owner, lock: threading.RLock) -> None:
        self._owner = owner
        self._acquire = lock.acquire
        self._release = lock.release

    def __enter__(self) -> None:
        self._owner.check()
        if not self._acquire(blocking=False):
            raise UsageError(
                "the client is in use by another thread; give each thread its own, or use a Pool"
            )

    def __exit__(self, *_: object) -> None:
        self._release()
