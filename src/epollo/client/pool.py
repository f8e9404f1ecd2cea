"""A pool of blocking clients, for many threads and several addresses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

from epollo.address.dialing import LONGEST_WAIT
from epollo.client.arguments import Timeout
from epollo.client.blocking import Client
from epollo.client.upstream import PoolOptions, Upstream, Upstreams, with_timeout
from epollo.errors import ClientTimeout, ConnectError, ConnectionClosed, EpolloError, FrameError
from epollo.framing import DEFAULT_MAX_FRAME, Buffer, Framing

_SHORTEST = 0.001  # seconds; no call has a timeout of 0


class Pool(Upstreams[Client]):
    """Clients of several ``addresses``, for any number of threads; a context manager.

    At most ``connections`` are open to each address; a connection is made when it is needed, and
    kept. A request goes to the healthy address with the fewest requests, and to the next in turn if
    they are equal. An address that cannot be connected to, or does not reply, is left out, and
    tried again once after each wait of ``backoff``.

    The other arguments are those of `epollo.connect`. No connection is made here: a wrong address
    is found by the first request. Raises as `epollo.connect` for arguments.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        framing: str | Framing = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        *,
        connections: int = 8,
        **options: Unpack[PoolOptions],
    ) -> None:
        super().__init__(
            addresses, framing, timeout, max_frame, connections, time.monotonic, options
        )
        self._changed = threading.Condition()
        self._in_use: set[Client] = set()

    def request(
        self, message: Buffer, *, idempotent: bool = False, timeout: Timeout = ...
    ) -> bytes:
        """Send ``message`` to one of the addresses and return its reply, within ``timeout`` in all.

        It is sent once: if it may have reached a server, an error is raised. An ``idempotent``
        message is then sent once more, to another address if there is one. As long as it was not
        sent, every address is tried. Raises as `Client.request`; ConnectError if no address can
        be connected to, and ClientTimeout if no connection became free.
        """
        deadline = self._deadline(timeout)
        try:
            return self._ask(message, deadline)
        except (ConnectionClosed, FrameError):
            if not idempotent or self._closed:
                raise
        return self._ask(message, deadline)

    @contextmanager
    def client(self, *, timeout: Timeout = ...) -> Iterator[Client]:
        """Borrow a connected client, for several calls on one connection. It goes back to the pool
        afterwards, unless messages are left on it. Raises ConnectError and ClientTimeout."""
        upstream, client = self._acquire(self._deadline(timeout))
        client.timeout = self.timeout
        try:
            yield client
        except (ConnectionClosed, ClientTimeout, FrameError) as error:
            if not client.live:
                self._failed(upstream, client, error)
            raise
        finally:
            self._release(upstream, client)

    def close(self) -> None:
        """Close for good. Requests under way may end within ``timeout``; then their connections are
        closed, and they raise ConnectionClosed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            idle = [client for each in self._upstreams for client in each.clients]
            for each in self._upstreams:
                each.clients.clear()
        if not self._owner.here:
            for client in idle:
                client.close()
            return
        deadline = self._deadline(...)
        for client in idle:
            _close(client, deadline)
        with self._changed:
            self._changed.wait_for(lambda: not self._in_use, self._seconds(deadline))
            left = list(self._in_use)
        for client in left:
            _close(client, time.monotonic() + _SHORTEST)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def _deadline(self, timeout: Timeout) -> float | None:
        limit = self._limit_of(timeout)
        return None if limit is None else time.monotonic() + limit

    def _seconds(self, deadline: float | None) -> float | None:
        """The seconds until ``deadline``, for a wait."""
        if deadline is None:
            return None
        return min(max(deadline - time.monotonic(), _SHORTEST), LONGEST_WAIT)

    def _ask(self, message: Buffer, deadline: float | None) -> bytes:
        upstream, client = self._acquire(deadline)
        try:
            reply = client.request(message, timeout=self._seconds(deadline))
        except (ConnectionClosed, ClientTimeout, FrameError) as error:
            self._failed(upstream, client, error)
            raise
        else:
            self._succeeded(upstream)
            return reply
        finally:
            self._release(upstream, client)

    def _acquire(self, deadline: float | None) -> tuple[Upstream[Client], Client]:
        """A live client, and its address. Other threads cannot use it until `_release`."""
        tries: dict[Upstream[Client], int] = {}
        while True:
            with self._changed:
                upstream = self._choose(deadline)
                upstream.begin()
                client = upstream.clients.pop() if upstream.clients else None
                if client is not None:
                    self._in_use.add(client)
            try:
                if client is None:
                    client = self._connect(upstream, deadline)
                elif client.alive():
                    return upstream, client
                else:
                    self._release(upstream, client)
                    continue
            except ConnectError as error:
                with self._changed:
                    upstream.fail(error)
                    upstream.end()
                    self._changed.notify_all()
                    tries[upstream] = tries.get(upstream, 0) + 1
                    if self._attempts is not None and all(
                        tries.get(each, 0) >= self._attempts for each in self._upstreams
                    ):
                        raise
                continue
            except BaseException:
                if client is not None:
                    self._release(upstream, client)
                else:
                    with self._changed:
                        upstream.end()
                        self._changed.notify_all()
                raise
            return upstream, client

    def _connect(self, upstream: Upstream[Client], deadline: float | None) -> Client:
        client = Client(with_timeout(upstream.arguments, self._dial_limit(deadline)))
        client.timeout = self.timeout
        with self._changed:
            self._in_use.add(client)
            closed = self._closed
            if closed:
                self._in_use.discard(client)
        if closed:
            client.close()
            self._check_open()
        return client

    def _choose(self, deadline: float | None) -> Upstream[Client]:
        """The address to use next; waits until one has a connection free. ``_changed`` is held."""
        while True:
            self._check_open()
            ready = [each for each in self._in_turn() if each.ready]
            free = [each for each in ready if each.busy < self.connections]
            if free:
                return min(free, key=lambda each: each.busy)
            wait = None if ready else self._next_wait(deadline)
            if wait is None and deadline is not None and time.monotonic() >= deadline:
                raise self._none_free()
            self._changed.wait(self._seconds(deadline) if wait is None else max(wait, _SHORTEST))

    def _succeeded(self, upstream: Upstream[Client]) -> None:
        if not upstream.healthy:
            with self._changed:
                upstream.succeed()
                self._changed.notify_all()

    def _failed(self, upstream: Upstream[Client], client: Client, error: Exception) -> None:
        """A connection that had brought replies may end at any time: a server was restarted. Only
        the next connect shows whether the address has failed."""
        if client.replied and not isinstance(error, ClientTimeout):
            return
        with self._changed:
            upstream.fail(error)

    def _release(self, upstream: Upstream[Client], client: Client) -> None:
        keep = client.clean and not self._closed
        if not keep:
            _close(client, self._deadline(...))
        with self._changed:
            self._in_use.discard(client)
            upstream.end()
            if keep and not self._closed:
                upstream.clients.append(client)
            self._changed.notify_all()
        if keep and self._closed:
            _close(client, self._deadline(...))


def _close(client: Client, deadline: float | None) -> None:
    """Close ``client`` before ``deadline``. What it raises was raised by its last request, or
    concerns messages that a borrower has left on it."""
    client.timeout = None if deadline is None else max(deadline - time.monotonic(), _SHORTEST)
    try:
        client.close()
    except EpolloError:
        pass
