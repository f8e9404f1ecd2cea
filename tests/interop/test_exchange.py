"""Messages there and back between epollo and others, whichever of them is the server."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import epollo
from epollo import CloseReason, Connection, address
from epollo.engine import EventLoop, Limits
from epollo.framing import Framing, parse
from tests.engine.support import turn_until
from tests.engines import Engine
from tests.interop.support import program
from tests.support import DEADLINE, Recorder

LARGE = 5_000_000
MAX_FRAME = LARGE + 4  # with its length before it: to the byte


@dataclass(frozen=True)
class Exchange:
    """A framing as ``program`` calls it, as epollo does, and the largest message to be sent."""

    program: str
    what: str
    framing: str
    largest: int
    binary: bool = True

    @property
    def messages(self) -> list[bytes]:
        """Small ones in a row, empty ones among them, the largest, and one behind it."""
        small = [b"hello", b"", b"", b"a\rb\0c", *(b"%d" % number for number in range(100))]
        if not self.binary:
            return [*small, b"x" * self.largest, b"", b"end"]
        largest = (bytes(range(256)) * (self.largest // 256 + 1))[: self.largest]
        return [*small, largest, b"", b"end"]

    @property
    def id(self) -> str:
        return f"{self.program}-{self.what}-{self.framing}"


EXCHANGES = [
    Exchange("erlang", "1", "erlang1", 255),
    Exchange("erlang", "2", "erlang2", 65_535),
    Exchange("erlang", "4", "erlang4", LARGE),
    Exchange("erlang", "line", "line", 65_535, binary=False),
    Exchange("twisted", "Int8", "u8", 255),
    Exchange("twisted", "Int16", "u16", 65_535),
    Exchange("twisted", "Int32", "u32", LARGE),
    Exchange("twisted", "Netstring", "netstring", 1_000_000),
    Exchange("twisted", "Line", r"delimiter:\r\n", 16_384, binary=False),
]

every_exchange = pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.id)


@every_exchange
def test_their_client_and_the_server(engine: Engine, exchange: Exchange) -> None:
    messages = exchange.messages
    handler = Recorder()
    with engine.server(handler, framing=exchange.framing, max_frame=MAX_FRAME) as server:
        replies = program(exchange.program).ask(exchange.what, server.addresses[0], messages)
        assert handler.end() is CloseReason.EOF
    assert list(handler.messages.queue) == messages
    assert replies == messages


@every_exchange
def test_their_server_and_the_client(exchange: Exchange) -> None:
    messages = exchange.messages
    with (
        program(exchange.program).echoing(exchange.what) as server,
        epollo.connect(server, exchange.framing, DEADLINE, MAX_FRAME) as client,
    ):
        assert [client.request(message) for message in messages] == messages
        client.end()
        assert list(client) == []


@every_exchange
def test_their_server_and_a_connection_of_the_engine(loop: EventLoop, exchange: Exchange) -> None:
    asking = Asking(parse(exchange.framing, MAX_FRAME), exchange.messages)
    with program(exchange.program).echoing(exchange.what) as server:
        loop.attach(address.start_connect(address.parse(server)), asking)
        turn_until(loop, lambda: asking.reason is not None)
    assert asking.replies == exchange.messages
    assert asking.reason is CloseReason.LOCAL


class Asking:
    """Sends all messages at once, and closes with the last reply."""

    limits = Limits(high_water=2 * MAX_FRAME)  # reads on while they are being sent

    def __init__(self, framing: Framing, messages: list[bytes]) -> None:
        self.framing = framing
        self.messages = messages
        self.replies: list[bytes] = []
        self.reason: CloseReason | None = None

    def connected(self, connection: Connection) -> None:
        for message in self.messages:
            connection.send(message)

    def received(self, message: bytes, connection: Connection) -> None:
        self.replies.append(message)
        if len(self.replies) == len(self.messages):
            connection.close()

    def closed(self, connection: Connection, reason: CloseReason) -> None:
        self.reason = reason
