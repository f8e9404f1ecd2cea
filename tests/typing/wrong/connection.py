"""What a handler may not do to a connection."""

import epollo


class Player:
    name = ""


def of_engine(message: bytes, connection: epollo.Connection) -> None:
    connection.defer()  # wrong
    connection.answer(message)  # wrong
    connection.fail(ValueError())  # wrong
    connection.start()  # wrong
    connection.drop(epollo.CloseReason.LOCAL)  # wrong


def of_state(message: bytes, connection: epollo.Connection[Player]) -> bytes:
    connection.state = message  # wrong
    return connection.state.name  # wrong


def of_send(message: bytes, connection: epollo.Connection) -> None:
    connection.send("text")  # wrong
    connection.peername = "other"  # wrong


def of_time(message: bytes, connection: epollo.Connection) -> None:
    connection.idle_timeout = [90]  # wrong
    connection.call_later(1, 2)  # wrong
    connection.call_later(print)  # wrong
    connection.create_task(print)  # wrong
