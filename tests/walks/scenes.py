"""The events whose route is recorded, each on a server of its own over a socket on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeAlias
from unittest import mock

from epollo import CloseReason, Connection, Server
from epollo.engine import EventLoop
from epollo.engine.python.loop import Loop
from tests.certificates import server_context, trusting
from tests.support import DEADLINE, frame
from tests.walks.route import Route

MESSAGE = b"hello"

# No sweep: one that happens to be due would be part of a route.
_NO_TIMEOUTS: dict[str, Any] = {"idle_timeout": 0, "frame_timeout": 0, "write_timeout": 0}


class Application:
    """Echoes, and knows how many connections are open and how many were closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def connected(self, _: Connection) -> None:
        self.opened += 1

    def received(self, message: bytes, _: Connection) -> bytes:
        return message

    def disconnected(self, _: Connection, __: CloseReason) -> None:
        self.closed += 1


class AsyncApplication(Application):
    """Waits for one turn of asyncio's loop before it echoes."""

    async def received(self, message: bytes, _: Connection) -> bytes:  # type: ignore[override]
        await asyncio.sleep(0)
        return message


class RunningServer:
    """A running server. Its loop makes a turn only when the scene says so."""

    def __init__(self, server: Server, application: Application, loop: EventLoop) -> None:
        self.server, self.application, self.loop = server, application, loop
        self.route = Route()

    def turns_until(self, condition: Callable[[], object]) -> None:
        while not condition():
            assert self.loop.poll(DEADLINE), "the event does not come"

    def client(self) -> socket.socket:
        """The client's end of a new connection, not yet accepted."""
        return _client(self.server)

    def connected(self) -> socket.socket:
        """The client's end of an open connection."""
        client = self.client()
        self.turns_until(lambda: self.application.opened)
        return client


Scene: TypeAlias = Callable[[RunningServer], None]


def one_message(running: RunningServer) -> None:
    with running.connected() as client:
        _echo(running, client)


def accepted(running: RunningServer) -> None:
    with running.client(), running.route:
        running.turns_until(lambda: running.application.opened)


def end_of_stream(running: RunningServer) -> None:
    with running.connected() as client:
        client.shutdown(socket.SHUT_WR)
        with running.route:
            running.turns_until(lambda: running.application.closed)
        _expect(client, b"")


def tls_message(running: RunningServer) -> None:
    with _tls_client(running) as client:
        _echo(running, client)


def stopped(running: RunningServer) -> None:
    with running.connected() as client:
        with running.route:
            running.server.stop(quick=True)  # as SIGINT does: no timer is part of the route
            running.turns_until(lambda: running.application.closed)
        _expect(client, b"")


def play(scene: Scene, **settings: Any) -> Route:
    """Run a server until ``scene`` is over; the route that it has recorded."""
    application = Application()
    server = _server(application, **settings)
    running: list[RunningServer] = []

    def run(loop: Loop) -> None:
        running.append(RunningServer(server, application, loop))
        scene(running[0])

    with mock.patch.object(Loop, "run", run):
        server.run()
    return running[0].route


def play_async() -> Route:
    """One message to an async handler, on asyncio's loop."""
    return asyncio.run(_async_message())


async def _async_message() -> Route:
    application, route = AsyncApplication(), Route()
    server = _server(application)
    server.start()
    serving = asyncio.create_task(server.serve())
    asyncio_loop = asyncio.get_running_loop()
    with _client(server) as client:
        while not application.opened:
            await asyncio.sleep(0)
        client.setblocking(False)
        with route:
            client.sendall(frame(MESSAGE))
            reply = await asyncio_loop.sock_recv(client, 100)
        assert reply == frame(MESSAGE)
    server.stop()
    await serving
    return route


def _server(application: Application, **settings: Any) -> Server:
    return Server(application, "127.0.0.1:0", engine="python", **_NO_TIMEOUTS, **settings)


def _client(server: Server) -> socket.socket:
    host, _, port = server.addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE)


def _tls_client(running: RunningServer) -> ssl.SSLSocket:
    client = trusting().wrap_socket(
        running.client(), server_hostname="127.0.0.1", do_handshake_on_connect=False
    )
    client.setblocking(False)
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            running.loop.poll(DEADLINE)
    running.turns_until(lambda: running.application.opened)
    client.settimeout(DEADLINE)
    return client


def _echo(running: RunningServer, client: socket.socket) -> None:
    """A message and its reply, after another one: what only the first one needs is left out."""
    for route in (nullcontext(), running.route):
        client.sendall(frame(MESSAGE))
        with route:
            running.loop.poll(DEADLINE)
        _expect(client, frame(MESSAGE))


def _expect(client: socket.socket, data: bytes) -> None:
    assert client.recv(100) == data


WALKS: dict[str, Callable[[], Route]] = {
    "one message": partial(play, one_message),
    "accept to connected": partial(play, accepted),
    "end of stream to closed": partial(play, end_of_stream),
    "TLS message": lambda: play(tls_message, tls=server_context()),
    "async handler": play_async,
    "stop with an idle connection": partial(play, stopped),
}
"""What is recorded, by name."""
