"""One address of a pool: its health, and when it may be tried again."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Any, Generic, TypedDict, TypeVar

from epollo import address
from epollo.client.arguments import ClientArguments, HasTimeout, read_arguments
from epollo.client.backoff import Attempts, Backoff
from epollo.client.forks import Owner
from epollo.client.match import Getter, Match
from epollo.errors import ClientTimeout, ConnectError, ConnectionClosed, SettingError
from epollo.framing import AnyFraming

_MAX_CONNECTIONS = 1 << 16  # of one address; more than there are ports


class PoolOptions(TypedDict, total=False):
    """The keyword arguments of `epollo.Pool` and `epollo.AsyncPool`; those of `epollo.connect`, and
    ``backoff``."""

    tls: ssl.SSLContext | bool | None
    server_hostname: str | None
    match: str | Getter | Match | None
    on_push: Callable[[bytes], object] | None
    keepalive: float
    backoff: Backoff


C = TypeVar("C")


class Upstream(Generic[C]):
    """One address of a pool.

    It is failed from an error until the next success: no connection could be made, or one ended
    without a reply, or a reply did not come in time. While it is failed, it is tried once after
    each wait of the backoff; other requests use other addresses.
    """

    def __init__(
        self, arguments: ClientArguments, backoff: Backoff, clock: Callable[[], float]
    ) -> None:
        self.arguments = arguments
        self.clients: list[C] = []  # of a Pool: those that are idle; of an AsyncPool: all
        self.leases: set[object] = set()  # of the connections in use, or being made
        self.error: ConnectError | None = None  # why it is failed
        self._attempts = Attempts(backoff, clock)

    def __str__(self) -> str:
        return str(self.arguments.endpoint)

    @property
    def busy(self) -> int:
        return len(self.leases)

    @property
    def healthy(self) -> bool:
        return self.error is None

    @property
    def ready(self) -> bool:
        """May it be used now?"""
        return self.error is None or not self.wait

    @property
    def wait(self) -> float:
        """Seconds until it may be tried again."""
        return self._attempts.remaining()

    def begin(self, lease: object) -> None:
        """A caller uses it until `end`. If it is failed, the next may do so after a wait."""
        self.leases.add(lease)
        self.tried()

    def tried(self) -> None:
        """A caller uses it. If it is failed, the next may do so after a wait."""
        if self.error is not None:
            self._attempts.begin()

    def end(self, lease: object) -> None:
        """The caller uses it no more; said again, it changes nothing."""
        self.leases.discard(lease)

    def succeed(self) -> None:
        """A reply came."""
        self.error = None
        self._attempts.restart()

    def fail(self, error: Exception) -> None:
        """It cannot be connected to, or does not reply."""
        if self.error is None:
            self._attempts.begin()
        if not isinstance(error, ConnectError):
            error = ConnectError(f"{self} is left out: {error}")
        self.error = error


class Upstreams(HasTimeout, Generic[C]):
    """The addresses of a pool, with the choice among them."""

    def __init__(
        self,
        addresses: Iterable[str],
        framing: AnyFraming,
        timeout: float | None,
        max_frame: int,
        connections: int,
        clock: Callable[[], float],
        options: PoolOptions,
    ) -> None:
        super().__init__(timeout)
        if isinstance(addresses, str):
            addresses = [addresses]
        if type(connections) is not int or not 0 < connections <= _MAX_CONNECTIONS:
            raise SettingError(
                f"connections: {connections!r} is not a number from 1 to {_MAX_CONNECTIONS}"
            )
        others: dict[str, Any] = {**options}
        backoff = others.pop("backoff", Backoff())
        if not isinstance(backoff, Backoff):
            raise SettingError(f"backoff: {backoff!r} is not a Backoff")
        self.connections = connections
        self._clock = clock
        self._upstreams: list[Upstream[C]] = []
        for to in addresses:
            arguments = read_arguments(to, framing, timeout, max_frame, **others)
            self._upstreams.append(Upstream(arguments, backoff, clock))
            if others.get("tls") is True:  # one context for all: it takes long to make
                others["tls"] = arguments.endpoint.tls
        if not self._upstreams:
            raise SettingError("addresses: a pool needs at least one")
        self._owner = Owner()
        self._turn = count()
        self._attempts = backoff.attempts
        self._closed = False

    def _rotated(self) -> list[Upstream[C]]:
        """All addresses; each call begins with another one, so that equal loads take turns."""
        first = next(self._turn) % len(self._upstreams)
        return self._upstreams[first:] + self._upstreams[:first]

    def _next_wait(self, deadline: float | None) -> float:
        """No address is ready: seconds until one is. Raises ConnectError if that is after
        ``deadline``."""
        wait = min(each.wait for each in self._upstreams)
        if deadline is not None and self._clock() + wait >= deadline:
            raise self._all_failed(wait)
        return wait

    def _dial_limit(self, deadline: float | None) -> float | None:
        """Seconds that a connect may take: one that does not answer leaves time for the others."""
        if deadline is None:
            return None
        ready = sum(each.ready for each in self._upstreams)
        return address.time_share(deadline - self._clock(), max(ready, 1))

    def _all_failed(self, wait: float) -> ConnectError:
        errors = "; ".join(str(each.error) for each in self._upstreams[:3] if each.error)
        return ConnectError(f"{errors}; the next attempt may be made in {wait:.1f} s")

    def _check_open(self) -> None:
        self._owner.check()
        if self._closed:
            raise ConnectionClosed(f"the pool of {self._upstreams[0]} is closed: closed here")

    def _none_free(self) -> ClientTimeout:
        return ClientTimeout(
            f"no connection of the pool became free in time; at most {self.connections} are open "
            "to each address"
        )


def with_timeout(arguments: ClientArguments, timeout: float | None) -> ClientArguments:
    """``arguments`` with another ``timeout``."""
    return replace(arguments, timeout=timeout)
