"""A module that is a handler."""

import epollo
from tests.typing.right import module


def connected(connection: epollo.Connection) -> None: ...


def received(message: bytes) -> bytes:
    return message


epollo.Server(module)
