"""A pool of blocking clients, for many threads and several addresses."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

from epollo.address.dialing import LONGEST_WAIT
from epollo.client.arguments import Timeout, after_error
from epollo.client.blocking.client import Client
from epollo.client.upstream import PoolOptions, Upstream, Upstreams, with_timeout
from epollo.errors import ClientTimeout, ConnectError, ConnectionClosed, EpolloError, FrameError
from epollo.framing import DEFAULT_MAX_FRAME, AnyFraming, Buffer

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
        self._lock = threading.RLock()
        self._returned = threading.Condition(self._lock)  # a lease ended; only `close` waits for it
        self._waiting: deque[threading.Condition] = deque()  # threads, the oldest first

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
        afterwards. It is closed instead if a message may be left on it, as after `Client.send`, or
        after `Client.end`. Raises ConnectError and ClientTimeout."""
        lease = _Lease()
        try:
            client = self._acquire(lease, self._deadline(timeout))
            client.timeout = self.timeout
            try:
                yield client
            except BaseException as error:
                of_connection = isinstance(error, ConnectionClosed | ClientTimeout | FrameError)
                if isinstance(error, Exception) and of_connection and not client.live:
                    self._failed(lease, error)
                if not client.clean:
                    _close(client, time.monotonic() + after_error(self._limit))
                raise
        finally:
            self._release(lease)

    def close(self) -> None:
        """Close for good. Requests under way may end within ``timeout``; then their connections are
        closed, and they raise ConnectionClosed. Leaving ``with`` closes too; with an error in the
        block it waits for 1 s at most."""
        self._close(self._limit)

    def _close(self, limit: float | None) -> None:
        with self._lock:
            self._closed = True
            self._wake_oldest()
            idle = [client for each in self._upstreams for client in each.clients]
            for each in self._upstreams:
                each.clients.clear()
        if not self._owner.here:
            for client in idle:
                client.close()
            return
        deadline = None if limit is None else time.monotonic() + limit
        for client in idle:
            _close(client, deadline)
        with self._lock:
            self._returned.wait_for(
                lambda: not any(each.leases for each in self._upstreams), self._seconds(deadline)
            )
            leases = [lease for each in self._upstreams for lease in each.leases]
            left = [lease.client for lease in leases if isinstance(lease, _Lease) and lease.client]
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
        self._close(self._limit if error is None else after_error(self._limit))

    def _deadline(self, timeout: Timeout) -> float | None:
        limit = self._limit_of(timeout)
        return None if limit is None else time.monotonic() + limit

    def _seconds(self, deadline: float | None) -> float | None:
        """The seconds that a wait until ``deadline`` takes."""
        if deadline is None:
            return None
        return min(max(deadline - time.monotonic(), _SHORTEST), LONGEST_WAIT)

    def _ask(self, message: Buffer, deadline: float | None) -> bytes:
        lease = _Lease()
        called = time.monotonic()
        try:
            client = self._acquire(lease, deadline)
            try:
                reply = client.request(message, timeout=self._seconds(deadline))
            except (ConnectionClosed, FrameError) as error:
                self._failed(lease, error)
                raise
            except ClientTimeout as error:
                if time.monotonic() - lease.began > lease.began - called:
                    self._failed(lease, error)
                raise  # most of the time was spent before: it does not show that the address fails
            self._succeeded(lease)
            return reply
        finally:
            self._release(lease)

    def _acquire(self, lease: _Lease, deadline: float | None) -> Client:
        """A live client, which other threads cannot use until the lease is released."""
        tries: Counter[Upstream[Client]] = Counter()
        again = False
        while True:
            with self._lock:
                upstream = self._choose(deadline, again=again)
                lease.upstream = upstream
                lease.began = time.monotonic()
                upstream.begin(lease)
                if upstream.clients:
                    lease.client = upstream.clients.pop()
            again = True
            if lease.client is not None:
                if lease.client.alive():
                    return lease.client
                self._release(lease)
                continue
            try:
                return self._connect(lease, upstream, deadline)
            except ConnectError as error:
                with self._lock:
                    upstream.fail(error)
                self._release(lease)
                tries[upstream] += 1
                if (
                    self._attempts
                    and min(tries[each] for each in self._upstreams) >= self._attempts
                ):
                    raise

    def _connect(self, lease: _Lease, upstream: Upstream[Client], deadline: float | None) -> Client:
        client = Client(with_timeout(upstream.arguments, self._dial_limit(deadline)))
        lease.client = client
        client.timeout = self.timeout
        self._check_open()
        return client

    def _choose(self, deadline: float | None, *, again: bool) -> Upstream[Client]:
        """The address to use next; waits until one has a connection free. The thread that waits
        longest is first; one that chooses ``again`` is before all. ``_lock`` is held."""
        self._check_open()
        if (again or not self._waiting) and (found := self._least_busy()):
            return found
        turn = threading.Condition(self._lock)
        try:
            (self._waiting.appendleft if again else self._waiting.append)(turn)
            return self._wait(turn, deadline)
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            self._wake_oldest()

    def _wait(self, turn: threading.Condition, deadline: float | None) -> Upstream[Client]:
        """Wait for a free connection until ``turn`` is the oldest that waits."""
        while True:
            self._check_open()
            wait = (
                None if any(each.ready for each in self._upstreams) else self._next_wait(deadline)
            )
            if wait is None and deadline is not None and time.monotonic() >= deadline:
                raise self._none_free()
            if self._waiting[0] is turn and (found := self._least_busy()):
                return found
            turn.wait(self._seconds(deadline) if wait is None else max(wait, _SHORTEST))

    def _least_busy(self) -> Upstream[Client] | None:
        """Of the addresses that may be used now, the one with the fewest requests."""
        ready = [each for each in self._rotated() if each.ready and each.busy < self.connections]
        return min(ready, key=lambda each: each.busy, default=None)

    def _wake_oldest(self) -> None:
        """Of the threads that wait; it wakes the next when it waits no more. ``_lock`` is held."""
        if self._waiting:
            self._waiting[0].notify()

    def _succeeded(self, lease: _Lease) -> None:
        if lease.upstream is not None and not lease.upstream.healthy:
            with self._lock:
                lease.upstream.succeed()
                self._wake_oldest()

    def _failed(self, lease: _Lease, error: Exception) -> None:
        """A connection that had brought replies may end at any time: a server was restarted. Only
        the next connect shows whether the address has failed."""
        assert lease.client is not None
        assert lease.upstream is not None
        if isinstance(error, ClientTimeout) or not lease.client.replied:
            with self._lock:
                lease.upstream.fail(error)

    def _release(self, lease: _Lease) -> None:
        """The connection may be used by other threads, if it is of use. May be called again."""
        client, upstream = lease.client, lease.upstream
        if client is not None and (self._closed or not client.clean):
            _close(client, self._deadline(...))
            client = lease.client = None
        with self._lock:
            if upstream is not None:
                upstream.end(lease)
                if client is not None:
                    upstream.clients.append(client)
            lease.client = lease.upstream = None
            self._returned.notify_all()
            self._wake_oldest()
        if client is not None and self._closed:  # meanwhile: `close` may not have seen it
            _close(client, self._deadline(...))


class _Lease:
    """The use of one connection by one call, which ``began`` when the connection was free."""

    __slots__ = ("began", "client", "upstream")

    def __init__(self) -> None:
        self.began = 0.0
        self.upstream: Upstream[Client] | None = None
        self.client: Client | None = None


def _close(client: Client, deadline: float | None) -> None:
    """Close ``client`` before ``deadline``. What it raises was raised by its last request, or
    concerns messages that a borrower has left on it."""
    client.timeout = None if deadline is None else max(deadline - time.monotonic(), _SHORTEST)
    try:
        client.close()
    except EpolloError:
        pass
