"""Handlers that block: each call in a thread of a pool, so that the loop goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from epollo.engine import CloseReason, Connection, EventLoop, Reply
from epollo.flights import Flight, Flights, as_exception
from epollo.handler import Application
from epollo.runner import report_disconnected


class Threads:
    """Calls ``received``, ``connected`` and ``disconnected`` in ``count`` threads.

    A call that has begun runs to its end, also when its connection is closed meanwhile.
    """

    def __init__(self, application: Application, in_flight: int, ordered: bool, count: int) -> None:
        self._application = application
        self._in_flight = in_flight
        self._count = count
        self._flights = Flights(ordered)

    def begin(self, engine: EventLoop) -> None:
        self._engine = engine
        self._closed = False
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="epollo-handler")

    def received(self, message: bytes, connection: Connection) -> None:
        flight = self._flights.begin(connection)
        future = self._submit(flight, partial(self._application.received, message, connection))
        flight.cancel = partial(self._cancel, flight, future)

    def connected(self, connection: Connection) -> None:
        """No message is delivered before it has returned. It is called though the peer has gone
        meanwhile, since `disconnected` will be."""
        flight = self._flights.begin(connection, self._in_flight)
        connect = self._application.connected
        self._submit(flight, lambda: _ignore(connect(connection)))

    def disconnected(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        self._flights.cancel(connection)
        call = partial(self._disconnect, connection, reason, done)
        self._flights.after(connection, partial(self._call, call))

    def close(self) -> None:
        """Wait for the calls that have begun; the engine hears no more of them."""
        self._pool.shutdown()
        self._closed = True
        for call in self._flights.abandon():
            call()

    def _call(self, call: Callable[[], object]) -> None:
        if self._closed:
            call()
        else:
            self._pool.submit(call)

    def _submit(self, flight: Flight, call: Callable[[], Reply]) -> Future[None]:
        return self._pool.submit(self._handle, flight, call)

    def _cancel(self, flight: Flight, future: Future[None]) -> None:
        """A call that waits for its thread is not made; one that was begun ends by itself."""
        if future.cancel():
            self._flights.end(flight)

    def _handle(self, flight: Flight, call: Callable[[], Reply]) -> None:
        """In the pool: what the handler sends itself goes out before its reply."""
        try:
            end = partial(self._flights.end, flight, _whole(call(), flight.connection))
        except BaseException as error:
            end = partial(self._flights.end, flight, error=as_exception(error))
        self._engine.call_threadsafe(end)

    def _disconnect(
        self, connection: Connection, reason: CloseReason, done: Callable[[], object]
    ) -> None:
        try:
            self._application.disconnected(connection, reason)
        except Exception as error:
            report_disconnected(error)
        finally:
            self._engine.call_threadsafe(done)


def _whole(reply: Any, connection: Connection) -> Any:
    """A generator is handler's code too: it is run to its end here, not in the loop's thread."""
    if isinstance(reply, bytes | bytearray | memoryview | str) or not isinstance(reply, Iterable):
        return reply
    messages = []
    for message in reply:
        if connection.closed:
            break
        messages.append(message)
    return messages


def _ignore(_: object) -> None:
    """What ``connected`` returns is no reply."""
