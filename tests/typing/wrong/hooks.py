"""Hooks with a wrong signature, and with a wrong name."""

from typing_extensions import override

import epollo


class Signatures(epollo.BaseHandler):
    def started(self) -> None: ...  # wrong

    def connected(self, connection: bytes) -> None: ...  # wrong

    def received(self, message: bytes) -> bytes:
        return message

    def disconnected(self, connection: epollo.Connection) -> None: ...  # wrong

    def stopping(self) -> None: ...  # wrong

    def closing(self, connection: epollo.Connection, why: str) -> None: ...  # wrong


class Name(epollo.BaseHandler):
    @override
    def disconnect(self, connection: epollo.Connection) -> None: ...  # wrong

    def received(self, message: bytes) -> bytes:
        return message
