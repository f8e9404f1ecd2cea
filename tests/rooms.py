"""A handler whose connections are all in one group."""

from __future__ import annotations

from typing import Any

from epollo import Connection, Server
from tests.engines import Engine
from tests.support import Peer, Recorder


class Room(Recorder):
    """Everybody is in the group "all"; what one says, the others are sent."""

    server: Server

    def connected(self, connection: Connection) -> None:
        connection.join("all")
        super().connected(connection)

    def received(self, message: bytes, connection: Connection) -> Any:
        self.server.publish("all", message, exclude=connection)
        return b"said"


def room(engine: Engine, **settings: Any) -> tuple[Room, Server]:
    handler = Room()
    handler.server = engine.server(handler, **settings)
    return handler, handler.server


def enter(handler: Recorder, server: Server, receive_buffer: int | None = None) -> Any:
    peer = Peer(server.addresses[0], receive_buffer)
    return peer, handler.connection()
