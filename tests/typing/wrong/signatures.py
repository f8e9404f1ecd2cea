"""Handlers whose parameters are wrong."""

import epollo


def text(message: str) -> bytes:
    return message.encode()


def nothing() -> bytes:
    return b""


def three(message: bytes, connection: epollo.Connection, more: int) -> bytes:
    return message


def exchanged(connection: epollo.Connection, message: bytes) -> bytes:
    return message


class Text:
    def received(self, message: str) -> bytes:
        return message.encode()


epollo.serve(text)  # wrong
epollo.serve(nothing)  # wrong
epollo.serve(three)  # wrong
epollo.serve(exchanged)  # wrong
epollo.serve(lambda: b"")  # wrong
epollo.serve(Text())  # wrong
epollo.Server(text)  # wrong
epollo.Server(str.upper)  # wrong
epollo.Server(Text())  # wrong
