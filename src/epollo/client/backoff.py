"""How long a client waits before it tries again to connect."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from epollo.errors import SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first attempt to reconnect is made at once; later waits double each time.

    ``first`` and ``most`` are seconds: the wait before the second attempt, and the longest wait.
    ``attempts`` is the most that one call makes; with None only the client's ``timeout`` limits
    it. ``jitter``, 0 to 1, is the random part of each wait, so that the clients of a restarted
    server do not all connect at once. 1 is the "full jitter" of the AWS Architecture Blog, as in
    redis-py's ExponentialWithJitterBackoff; 0 is no jitter. Raises SettingError.
    """

    first: float = 0.1
    most: float = 10.0
    attempts: int | None = None
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.most:
            raise SettingError(f"backoff: first={self.first} must be over 0, and at most most")
        if self.attempts is not None and self.attempts < 1:
            raise SettingError(f"backoff: attempts={self.attempts} must be at least 1, or None")
        if not 0 <= self.jitter <= 1:
            raise SettingError(f"backoff: jitter={self.jitter} must be from 0 to 1")

    def waits(self) -> Iterator[float]:
        """The seconds to wait before each attempt."""
        yield 0.0
        wait = self.first
        for _ in count() if self.attempts is None else range(self.attempts - 1):
            yield wait * (1 - self.jitter * random.random())  # noqa: S311
            wait = min(2 * wait, self.most)


def waits_until(
    backoff: Backoff, deadline: float | None, clock: Callable[[], float]
) -> Iterator[float]:
    """The waits of ``backoff`` that end before ``deadline``, a time of ``clock``; always the first
    one, so that each call tries at least once."""
    for attempt, wait in enumerate(backoff.waits()):
        if attempt and deadline is not None and clock() + wait >= deadline:
            return
        yield wait
