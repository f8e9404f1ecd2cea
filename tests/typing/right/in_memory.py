"""A test in memory: its clock, bytes, and server."""

import epollo
import epollo.testing


class Clock:
    def started(self, server: epollo.Server) -> None: ...

    def received(self, message: bytes) -> bytes:
        return message


def test_plain() -> None:
    with epollo.testing.connect(Clock()) as connection:
        sent: list[bytes] = connection.receive_bytes(bytearray(b"12"))
        sent += connection.advance("90s") + connection.advance(0.5)
        server: epollo.testing.MemoryServer = connection.server
        server.publish("group", b"message", exclude=connection)
        call: epollo.DelayedCall = server.call_later(1, print, "text")
        call.cancel()


async def test_async() -> None:
    async with epollo.testing.connect(Clock()) as connection:
        sent: list[bytes] = await connection.receive_bytes_async(b"12")
        sent += await connection.advance_async(90)
