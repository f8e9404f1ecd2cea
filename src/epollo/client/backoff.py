"""How long a client waits before it tries again to connect."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from epollo.errors import SettingError

_LONGEST = 1e6  # seconds; any sleep can wait as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first attempt to reconnect is made at once; later waits double each time.

    ``first`` and ``most`` are seconds: the wait before the second attempt, and the longest wait.
    ``attempts`` is the most that one call makes; with None only the call's timeout limits it.
    ``jitter``, 0 to 1, is the random part of each wait, so that the clients of a restarted
    server do not all connect at once. 1 is the "full jitter" of the AWS Architecture Blog, as in
    redis-py's ExponentialWithJitterBackoff; 0 is no jitter.

    The waits begin again with the first one after a connection that was of use: it brought a reply,
    or lasted for ``most`` seconds. A server that accepts connections only to close them is
    therefore not connected to more and more often. Raises SettingError.
    """

    first: float = 0.1
    most: float = 10.0
    attempts: int | None = None
    jitter: float = 1.0

    def __post_init__(self) -> None:
        for name in ("first", "most", "jitter"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"backoff: {name}={value!r} is not a number")
        if not 0 < self.first <= self.most <= _LONGEST:
            raise SettingError(
                f"backoff: first={self.first}, most={self.most} must be seconds over 0 and up to "
                f"{_LONGEST:g}, first at most most"
            )
        if self.attempts is not None and not (type(self.attempts) is int and self.attempts > 0):
            raise SettingError(
                f"backoff: attempts={self.attempts!r} must be a whole number over 0, or None"
            )
        if not 0 <= self.jitter <= 1:
            raise SettingError(f"backoff: jitter={self.jitter} must be from 0 to 1")

    def waits(self) -> Iterator[float]:
        """The seconds to wait before each attempt of one call."""
        yield 0.0
        waits = self.growing()
        for _ in count() if self.attempts is None else range(self.attempts - 1):
            yield next(waits)

    def growing(self) -> Iterator[float]:
        """The seconds to wait after each attempt that was of no use, without end."""
        wait = self.first
        while True:
            yield wait * (1 - self.jitter * random.random())  # noqa: S311
            wait = min(2 * wait, self.most)


class Attempts:
    """When a client, or a pool for one address, may connect again; kept from one call to the next.

    ``clock`` gives the time in seconds.
    """

    def __init__(self, backoff: Backoff, clock: Callable[[], float]) -> None:
        self._backoff = backoff
        self._clock = clock
        self._waits = backoff.growing()
        self._attempted = -math.inf  # when the last attempt was made
        self._wait = 0.0  # seconds after it

    def begin(self) -> None:
        """An attempt is made now."""
        self._attempted = self._clock()
        self._wait = next(self._waits)

    def restart(self) -> None:
        """The last connection was of use: the next attempt needs no wait."""
        self._waits = self._backoff.growing()
        self._attempted, self._wait = -math.inf, 0.0

    def ended(self, *, replied: bool) -> None:
        """The last connection has ended. Was it of use?"""
        if replied or self._clock() - self._attempted >= self._backoff.most:
            self.restart()

    def remaining(self) -> float:
        """The seconds until the next attempt may be made."""
        return max(0.0, self._attempted + self._wait - self._clock())

    def until(self, deadline: float | None) -> Iterator[float]:
        """The waits before the attempts of one call that can be made before ``deadline``; none if
        the first one is later. The caller waits, calls `begin`, and asks for the next wait only if
        the attempt failed."""
        wait = self.remaining()
        for _ in count() if self._backoff.attempts is None else range(self._backoff.attempts):
            if wait and deadline is not None and self._clock() + wait >= deadline:
                return
            yield wait
            wait = self._wait
