"""A handler that says that its peer is at fault."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from epollo import BadMessage, CloseReason, Connection
from tests.engines import Engine
from tests.logs import Log
from tests.support import DEADLINE, Peer, closed, frame

TEXT = "a session begins with b'GET' instead of LOGIN"


def plain(message: bytes) -> bytes:
    if message != b"LOGIN":
        raise BadMessage(TEXT)
    return b"OK"


def with_connection(message: bytes, connection: Connection) -> bytes:
    return plain(message)


async def waiting(message: bytes) -> bytes:
    return plain(message)


def several(message: bytes) -> Iterator[bytes]:
    yield plain(message)


def later(message: bytes, connection: Connection) -> None:
    connection.call_later(0, lambda: plain(message))


async def task(message: bytes, connection: Connection) -> None:
    connection.create_task(waiting(message))


@pytest.fixture
def lines() -> Iterator[Log]:
    """What the server logs from level info on."""
    logger, handler = logging.getLogger("epollo.server"), Log(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


WAYS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "plain": (plain, {}),
    "with the connection": (with_connection, {}),
    "async": (waiting, {"loop": "asyncio"}),
    "several replies": (several, {}),
    "in a thread": (plain, {"threads": 2}),
    "several replies from a thread": (several, {"threads": 2}),
}


@pytest.mark.parametrize(("handler", "settings"), WAYS.values(), ids=WAYS)
def test_the_peer_is_at_fault(
    engine: Engine, lines: Log, handler: Callable[..., Any], settings: dict[str, Any]
) -> None:
    with (
        engine.server(handler, **settings) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.send(frame(b"LOGIN") + frame(b"GET") + frame(b"LOGIN"))
        assert peer.receive_all() == frame(b"OK")
        assert closed(server, CloseReason.BAD_MESSAGE) == 1
        assert server.counters.closed[CloseReason.HANDLER_ERROR] == 0
    (line,) = (line for line in lines.take() if "bad_message" in line)
    assert line.endswith(f"bad_message: {TEXT}")
    assert lines.tracebacks == 0


@pytest.mark.parametrize(("handler", "loop"), [(later, "auto"), (task, "asyncio")])
def test_also_behind_the_handler(engine: Engine, handler: Callable[..., Any], loop: str) -> None:
    with engine.server(handler, loop=loop) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"GET"))
        assert peer.receive_all() == b""
        assert closed(server, CloseReason.BAD_MESSAGE) == 1
        assert server.counters.closed[CloseReason.HANDLER_ERROR] == 0


def test_who_connects_may_be_refused(engine: Engine) -> None:
    class Closed:
        def connected(self, connection: Connection) -> None:
            raise BadMessage("closed today")

        def received(self, message: bytes) -> bytes:
            return message

    with engine.server(Closed()) as server, Peer(server.addresses[0]) as peer:
        assert peer.receive_all() == b""
        assert closed(server, CloseReason.BAD_MESSAGE) == 1


def test_behind_the_end_of_its_connection_it_is_no_error(engine: Engine, log: Log) -> None:
    raised = threading.Event()

    def aborts(message: bytes, connection: Connection) -> None:
        connection.abort()
        raised.set()
        raise BadMessage(TEXT)

    with engine.server(aborts) as server, Peer(server.addresses[0]) as peer:
        peer.send(frame(b"LOGIN"))
        assert peer.receive_all() == b""
        assert raised.wait(DEADLINE)
        assert closed(server, CloseReason.LOCAL) == 1
    assert [line for line in log.take() if "raised" in line] == []
