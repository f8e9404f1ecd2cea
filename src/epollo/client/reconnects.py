"""What a client remembers of its attempts to connect again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from epollo.client.backoff import Attempts, Backoff
from epollo.client.wording import not_yet
from epollo.errors import ConnectError


class Reconnects:
    """The attempts of one client to connect again, kept from one call to the next.

    ``name`` is the server's; ``clock`` gives the time in seconds.
    """

    def __init__(self, name: str, backoff: Backoff, clock: Callable[[], float]) -> None:
        self.failure: ConnectError | None = None  # of the last attempt
        self._name = name
        self._attempts = Attempts(backoff, clock)
        self._lost = False

    def lost(self, *, replied: bool) -> None:
        """The connection has ended; had it brought a reply? Said again, it changes nothing."""
        if not self._lost:
            self._lost = True
            self._attempts.ended(replied=replied)

    def waits(self, deadline: float | None) -> Iterator[float]:
        """The waits before the attempts of one call. The caller waits, makes an `attempt`, and asks
        for the next wait only if that failed.

        Raises ConnectError after the last attempt that can be made before ``deadline``.
        """
        attempted = False
        for wait in self._attempts.until(deadline):
            yield wait
            attempted = True
        if attempted and self.failure is not None:
            raise self.failure
        raise not_yet(self._name, self.failure, self._attempts)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """The block connects, and is left once it is connected. A ConnectError in it is kept: then
        the next wait follows."""
        self._attempts.begin()
        try:
            yield
        except ConnectError as error:
            self.failure = error
        else:
            self.failure, self._lost = None, False
