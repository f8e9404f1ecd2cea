"""A pool of asyncio clients, for the tasks of one loop and several addresses."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self, Unpack

from epollo.client.arguments import Timeout
from epollo.client.asynchronous.client import AsyncClient
from epollo.client.upstream import PoolOptions, Upstream, Upstreams, with_timeout
from epollo.errors import ClientTimeout, ConnectError, ConnectionClosed, EpolloError, FrameError
from epollo.framing import DEFAULT_MAX_FRAME, AnyFraming, Buffer

_SHORTEST = 0.001  # seconds; no call has a timeout of 0


class AsyncPool(Upstreams[AsyncClient]):
    """Clients of several ``addresses``, for all tasks of one loop; an asynchronous context manager.

    A request goes to the healthy address with the fewest open requests, and there to the connection
    with the fewest; equal addresses take turns. Another connection is made if all have open
    requests, up to ``connections`` to each address. An address that cannot be connected to, or does
    not reply, is left out, and tried again once after each wait of ``backoff``.

    The other arguments are those of `epollo.AsyncClient`. No connection is made here: a wrong
    address is found by the first request.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        framing: AnyFraming = "u32",
        timeout: float | None = 5.0,
        max_frame: int = DEFAULT_MAX_FRAME,
        *,
        connections: int = 8,
        **options: Unpack[PoolOptions],
    ) -> None:
        super().__init__(
            addresses, framing, timeout, max_frame, connections, time.monotonic, options
        )
        self._changed = asyncio.Event()
        self._in_order = self._upstreams[0].arguments.match is None
        self._waiting: Counter[AsyncClient] = Counter()  # calls that wait for a reply of it

    async def request(
        self, message: Buffer, *, idempotent: bool = False, timeout: Timeout = ...
    ) -> bytes:
        """Send ``message`` to one of the addresses and return its reply, within ``timeout`` in all.

        It is sent once: if it may have reached a server, an error is raised. An ``idempotent``
        message is then sent once more, to another address if there is one. As long as it was not
        sent, every address is tried. Raises as `AsyncClient.request`, and ConnectError if no
        address can be connected to.
        """
        limit = self._limit_of(timeout)
        deadline = None if limit is None else self._clock() + limit
        tries: Counter[Upstream[AsyncClient]] = Counter()
        try:
            return await self._ask(message, deadline, tries)
        except (ConnectionClosed, FrameError):
            if not idempotent or self._closed:
                raise
        return await self._ask(message, deadline, tries)

    async def close(self) -> None:
        """Close all connections for good, each as `AsyncClient.close`, at the same time. Requests
        under way raise ConnectionClosed."""
        self._owner.check()
        self._closed = True
        self._wake()
        clients = [client for each in self._upstreams for client in each.clients]
        for each in self._upstreams:
            each.clients.clear()
        results = await asyncio.gather(
            *(client.close() for client in clients), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, EpolloError):
                raise result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is not None:
            for each in self._upstreams:
                for client in each.clients:
                    client.limit_close()
        await self.close()

    async def _ask(
        self, message: Buffer, deadline: float | None, tries: Counter[Upstream[AsyncClient]]
    ) -> bytes:
        """``tries`` counts what this call has tried of each address in vain."""
        upstream, client = await self._acquire(deadline, tries)
        try:
            reply = await self._reply(client, message, deadline)
        except (ConnectionClosed, ClientTimeout, FrameError) as error:
            # A connection that had brought replies may end at any time: a server was restarted.
            if isinstance(error, ClientTimeout) or not client.replied:
                upstream.fail(error)
            tries[upstream] += 1
            raise
        if not upstream.healthy:
            upstream.succeed()
            self._wake()
        return reply

    async def _reply(self, client: AsyncClient, message: Buffer, deadline: float | None) -> bytes:
        self._waiting[client] += 1
        try:
            return await client.request(message, timeout=self._seconds(deadline))
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    async def _acquire(
        self, deadline: float | None, tries: Counter[Upstream[AsyncClient]]
    ) -> tuple[Upstream[AsyncClient], AsyncClient]:
        """The live client to use next, and its address."""
        while True:
            upstream = await self._choose(deadline, tries)
            _prune(upstream)
            client = min(upstream.clients, key=self._load, default=None)
            full = len(upstream.clients) + upstream.busy >= self.connections
            if client is not None and (full or not self._load(client)):
                upstream.tried()
                return upstream, client
            try:
                return upstream, await self._connect(upstream, deadline)
            except ConnectError as error:
                if client is not None and client.live:  # it does without one more
                    return upstream, client
                upstream.fail(error)
                self._wake()
                tries[upstream] += 1
                if self._attempts is not None and all(
                    tries[each] >= self._attempts for each in self._upstreams
                ):
                    raise

    async def _connect(
        self, upstream: Upstream[AsyncClient], deadline: float | None
    ) -> AsyncClient:
        lease = object()
        upstream.begin(lease)
        try:
            client = AsyncClient.of(with_timeout(upstream.arguments, self._dial_limit(deadline)))
            await client.__aenter__()
        finally:
            upstream.end(lease)
            self._wake()
        client.timeout = self.timeout
        if self._closed:
            await client.close()
            self._check_open()
        upstream.clients.append(client)
        return client

    async def _choose(
        self, deadline: float | None, tries: Counter[Upstream[AsyncClient]]
    ) -> Upstream[AsyncClient]:
        """The address to use next; waits until one is ready. A failed one that may be tried again
        is, whatever the load of the others; but first come those that this call has not tried."""
        while True:
            self._check_open()
            ready = [each for each in self._rotated() if each.ready]  # once: time goes on
            usable = [each for each in ready if each.clients or each.busy < self.connections]
            if usable:
                return min(
                    usable, key=lambda each: (tries[each], each.healthy, self._load_of(each))
                )
            wait: float | None = None
            if not ready:
                wait = self._next_wait(deadline)
            elif deadline is not None and self._clock() >= deadline:
                raise self._none_free()
            await self._wait(self._seconds(deadline) if wait is None else wait)

    def _load(self, client: AsyncClient) -> int:
        """The requests in the way of the next one. With ``match`` those that were given up are in
        nobody's way, and their replies may never come."""
        return client.open_requests if self._in_order else self._waiting[client]

    def _load_of(self, upstream: Upstream[AsyncClient]) -> int:
        return upstream.busy + sum(map(self._load, upstream.clients))

    async def _wait(self, seconds: float | None) -> None:
        """Wait until an address may have become usable, at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()

    def _seconds(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(deadline - self._clock(), _SHORTEST)


def _prune(upstream: Upstream[AsyncClient]) -> None:
    """Forget the clients whose connections have ended."""
    for client in upstream.clients:
        if not client.live:
            client.abort()
    upstream.clients = [client for client in upstream.clients if client.live]
