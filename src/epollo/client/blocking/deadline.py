"""When a call of the blocking client has to have ended."""

from __future__ import annotations

import time

from epollo.address.dialing import LONGEST_WAIT


class DeadlinePassed(Exception):
    """The deadline of a call has passed. Not a TimeoutError: that is the kernel's ETIMEDOUT.

    ``unsent``: the peer had not acknowledged all bytes.
    """

    unsent = False


class Deadline:
    """``limit`` seconds from now: ``at`` by time.monotonic(). Both are None without a limit."""

    __slots__ = ("at", "limit")

    def __init__(self, limit: float | None) -> None:
        self.limit: float | None = limit
        self.at: float | None = None if limit is None else time.monotonic() + limit

    def remaining(self) -> float | None:
        """The seconds that are left, at most LONGEST_WAIT. Raises DeadlinePassed."""
        if self.at is None:
            return None
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            raise DeadlinePassed
        return min(seconds, LONGEST_WAIT)
