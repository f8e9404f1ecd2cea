"""Handlers that return what cannot be sent."""

import epollo


def text(message: bytes) -> str:
    return message.decode()


def number(message: bytes) -> int:
    return len(message)


def texts(message: bytes) -> list[str]:
    return message.decode().split()


async def waiting(message: bytes) -> str:
    return message.decode()


class Text:
    def received(self, message: bytes) -> str:
        return message.decode()


epollo.serve(text)  # wrong
epollo.serve(number)  # wrong
epollo.serve(texts)  # wrong
epollo.serve(waiting)  # wrong
epollo.serve(lambda message: len(message))  # wrong
epollo.Server(Text())  # wrong
epollo.Server(bytes.decode)  # wrong
