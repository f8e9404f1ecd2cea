"""Objects that are handlers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

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


class Later:
    def __init__(self) -> None:
        self.call: epollo.DelayedCall | None = None
        self.task: asyncio.Task[int] | None = None

    def started(self, server: epollo.Server) -> None:
        server.call_later("1s", print, "started")

    async def received(self, message: bytes, connection: epollo.Connection) -> AsyncIterator[bytes]:
        connection.idle_timeout = "90s"
        self.call = connection.call_later(connection.idle_timeout / 2, connection.send, message)
        self.task = connection.create_task(self.work(connection), name="work")
        yield message
        yield b"%d" % await self.task

    async def work(self, connection: epollo.Connection) -> int:
        await connection.writable()
        return 7


async def numbers() -> AsyncIterator[bytes]:
    yield b"1"


class Returning:
    async def received(self, message: bytes) -> AsyncIterator[bytes]:
        return numbers()


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
epollo.Server(Later())
epollo.Server(Returning())
epollo.Server(Derived())
epollo.Server(Assigned())
epollo.Server(Static())
