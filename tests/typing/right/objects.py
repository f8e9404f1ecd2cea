"""Objects that are handlers."""

from collections.abc import Iterator

import epollo


class Bare:
    def received(self, message: bytes) -> bytes:
        return message


class WithHooks:
    def started(self, server: epollo.Server) -> None: ...

    def connected(self, connection: epollo.Connection) -> None: ...

    def received(self, message: bytes, connection: epollo.Connection) -> Iterator[bytes]:
        yield message

    def disconnected(self, connection: epollo.Connection, reason: epollo.CloseReason) -> None: ...

    def stopping(self, server: epollo.Server) -> None: ...

    def closing(self, connection: epollo.Connection) -> None: ...

    def stopped(self, server: epollo.Server) -> None: ...


class Waiting:
    async def started(self, server: epollo.Server) -> None: ...

    async def connected(self, connection: epollo.Connection) -> None: ...

    async def received(self, message: bytes, connection: epollo.Connection) -> bytes:
        return message

    async def disconnected(
        self, connection: epollo.Connection, reason: epollo.CloseReason
    ) -> None: ...


class Derived(epollo.BaseHandler):
    def connected(self, connection: epollo.Connection) -> None: ...

    def received(self, message: bytes, connection: epollo.Connection) -> bytes:
        return message

    async def disconnected(self, peer: epollo.Connection, why: epollo.CloseReason) -> None: ...

    async def stopping(self, server: epollo.Server) -> None: ...

    async def closing(self, connection: epollo.Connection) -> None: ...


class Assigned:
    def __init__(self) -> None:
        self.received = Bare().received


class Static:
    @staticmethod
    def received(message: bytes) -> bytes:
        return message


epollo.Server(Bare())
epollo.Server(WithHooks())
epollo.Server(Waiting())
epollo.Server(Derived())
epollo.Server(Assigned())
epollo.Server(Static())
