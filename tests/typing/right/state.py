"""The state of a connection, with and without a type."""

import epollo


class Player:
    def __init__(self, name: str) -> None:
        self.name = name


class Game(epollo.BaseHandler):
    def connected(self, connection: epollo.Connection[Player]) -> None:
        connection.state = Player(connection.peername)

    def received(self, message: bytes, connection: epollo.Connection[Player]) -> bytes:
        return connection.state.name.encode()


class Counting:
    def connected(self, connection: epollo.Connection) -> None:
        connection.state = 0

    def received(self, message: bytes, connection: epollo.Connection) -> bytes:
        connection.state += 1
        return b"%d" % connection.state


async def name(message: bytes, connection: epollo.Connection[Player]) -> None:
    connection.state.name = message.decode()


def forget(connection: epollo.Connection[Player | None]) -> epollo.Connection:
    connection.state = None
    return connection


epollo.Server(Game())
epollo.Server(Counting())
epollo.Server(name)
