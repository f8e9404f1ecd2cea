"""Functions that are handlers."""

import functools
from collections.abc import Generator, Iterator

import epollo


def of_message(message: bytes) -> bytes:
    return message


def of_connection(message: bytes, connection: epollo.Connection) -> bytes | None:
    return message if connection.unsent else None


def optional(message: bytes, connection: epollo.Connection | None = None) -> bytearray:
    return bytearray(message)


def other_optional(message: bytes, times: int = 2) -> memoryview:
    return memoryview(message * times)


def any_arguments(*arguments: object) -> None:
    print(arguments)


def several(message: bytes) -> list[bytes]:
    return message.split()


def one_or_several(message: bytes) -> bytes | tuple[bytes, ...] | None:
    return message or (message, message)


def iterator(message: bytes) -> Iterator[bytes]:
    yield message


def generator(message: bytes, connection: epollo.Connection) -> Generator[bytes, None, None]:
    yield message
    connection.close()


async def waiting(message: bytes) -> bytes:
    return message


async def waiting_of_connection(message: bytes, connection: epollo.Connection) -> list[bytes]:
    return [message, connection.peername.encode()]


def prefixed(prefix: bytes, message: bytes, connection: epollo.Connection) -> bytes:
    return prefix + message


async def prefixed_waiting(prefix: bytes, message: bytes) -> bytes:
    return prefix + message


class Service:
    def __call__(self, message: bytes, connection: epollo.Connection) -> bytes:
        return message

    def method(self, message: bytes) -> bytes:
        return message

    async def waiting(self, message: bytes, connection: epollo.Connection) -> bytes:
        return message

    @staticmethod
    def static(message: bytes) -> bytes:
        return message

    @classmethod
    def of_class(cls, message: bytes) -> bytes:
        return message


epollo.Server(of_message)
epollo.Server(of_connection)
epollo.Server(optional)
epollo.Server(other_optional)
epollo.Server(any_arguments)
epollo.Server(several)
epollo.Server(one_or_several)
epollo.Server(iterator)
epollo.Server(generator)
epollo.Server(waiting)
epollo.Server(waiting_of_connection)
epollo.Server(functools.partial(prefixed, b"> "))
epollo.Server(functools.partial(prefixed_waiting, b"> "))
epollo.Server(lambda message: message)
epollo.Server(lambda _: None)
epollo.Server(lambda message, connection: [message, connection.peername.encode()])
epollo.Server(bytes.upper)
epollo.Server(Service())
epollo.Server(Service().method)
epollo.Server(Service().waiting)
epollo.Server(Service.static)
epollo.Server(Service.of_class)

chosen: epollo.Handler = of_message
epollo.Server(chosen)
