"""The pacer sends when messages are due, and only on connections that will be there to answer."""

from __future__ import annotations

from functools import partial

import pytest

from epollo import Connection, Server
from epollo.bench import Workload, run
from epollo.engine import available

EVERY = 5
LATE = 0.05  # seconds


class Slow:
    """Echoes, the last message of each connection late."""

    def __init__(self) -> None:
        self.received_by: list[int] = []

    def connected(self, connection: Connection) -> None:
        connection.state = len(self.received_by)
        self.received_by.append(0)

    def received(self, message: bytes, connection: Connection) -> bytes | None:
        self.received_by[connection.state] += 1
        if self.received_by[connection.state] < EVERY:
            return message
        connection.loop.call_later(LATE, partial(self.answer, connection, message))  # type: ignore[attr-defined]
        return None

    def answer(self, connection: Connection, message: bytes) -> None:
        if not connection.closed:
            connection.send(message)


@pytest.mark.parametrize("engine", available())
def test_a_connection_that_is_to_be_closed_is_sent_on_no_more(engine: str) -> None:
    """It waits for its last reply meanwhile, and what was sent behind that would be lost."""
    handler = Slow()
    with Server(handler, "127.0.0.1:0") as server:
        load = Workload(
            address=server.addresses[0],
            connections=2,
            rate=500,
            messages=100,
            duration=None,
            warmup=0,
            reconnect_every=EVERY,
            engine=engine,
        )
        result = run(load)
    assert result.errors == {}
    assert result.messages == result.response.total == 100
    assert max(handler.received_by) == EVERY
