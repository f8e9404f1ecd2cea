"""How long a client waits before it tries to connect once more."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from epollo.errors import SettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Of the attempts to reconnect, the first comes at once; then the wait doubles each time.

    ``first`` and ``most`` are seconds: the wait before the second attempt, and the longest one.
    ``attempts`` bounds their number in one call; None leaves that to the client's ``timeout``.
    ``jitter``, 0 to 1, is the part of each wait that is left to chance, so that the clients of a
    restarted server do not all come at once. 1 is redis-py's ExponentialWithJitterBackoff, the
    "full jitter" of the AWS Architecture Blog; 0 is none. Raises SettingError.
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


def make_backoff(reconnect: Backoff | bool) -> Backoff | None:
    """What the argument ``reconnect`` of a client stands for."""
    return reconnect if isinstance(reconnect, Backoff) else Backoff() if reconnect else None
