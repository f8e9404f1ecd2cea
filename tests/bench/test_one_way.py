"""Messages without replies: sent on schedule, and all received."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from epollo import Connection
from epollo.bench import Driver, Result, Workload, run
from epollo.bench.output.text import render
from epollo.bench.results.verdict import Verdict
from tests.bench.hostile import Accepted, hostile
from tests.engines import Engine
from tests.support import DEADLINE, frame, until

MESSAGES = 200


class Sink:
    """Takes all messages, and answers none."""

    def __init__(self) -> None:
        self.received_messages: list[bytes] = []

    def received(self, message: bytes, connection: Connection) -> None:
        self.received_messages.append(message)


def load(where: str, engine: str, **changes: Any) -> Result:
    return run(workload(where, engine, **changes))


def workload(where: str, engine: str, **changes: Any) -> Workload:
    settings: dict[str, Any] = {"connections": 3, "messages": MESSAGES, "duration": None}
    settings |= {"warmup": 0, "timeout": DEADLINE, "rate": 5000, "expect": "none"}
    return Workload(address=where, engine=engine, **settings | changes)


@pytest.mark.parametrize(
    "changes", [{}, {"size": "200KiB"}, {"reconnect_every": 10}], ids=["small", "large", "replaced"]
)
def test_every_message_arrives(engine: Engine, changes: dict[str, Any]) -> None:
    sink = Sink()
    with engine.server(sink) as server:
        result = load(server.addresses[0], engine.name, **changes)
    assert result.errors == {}
    assert result.messages == result.sent == MESSAGES
    assert result.bytes_received == 0
    # Each connection is tried with one message before the schedule begins.
    assert len(sink.received_messages) == MESSAGES + 3
    assert len(set(sink.received_messages)) == MESSAGES + 3


def test_the_report_says_that_there_were_no_replies(engine: Engine) -> None:
    with engine.server(Sink()) as server:
        result = load(server.addresses[0], engine.name)
    report = render(Verdict.of(result))
    assert "every message was sent, without replies; no errors" in report
    assert not re.search("order|first reply", report)


def test_a_reply_is_extra(engine: Engine) -> None:
    def answer_one(peer: Accepted) -> None:
        peer.send(peer.next_frame() + frame(b"and another"))
        while peer.next_frame():
            pass

    drivers: list[Driver] = []

    def end() -> None:
        until(lambda: drivers[0].counters.errors.get("extra") == 2)
        drivers[0].stop()

    with hostile(answer_one) as where:
        settings: dict[str, Any] = {"connections": 1, "messages": None, "duration": 60}
        drivers.append(Driver(workload(where, engine.name, **settings)))
        ending = threading.Thread(target=end)
        ending.start()
        result = drivers[0].run()
        ending.join()
    assert result.errors == {"extra": 2}
    assert result.messages == result.sent


def test_a_server_that_does_not_read_is_noticed(engine: Engine) -> None:
    over = threading.Event()
    with hostile(lambda _: over.wait(DEADLINE)) as where:
        result = load(where, engine.name, connections=1, size="1MiB", timeout=2.0)
        over.set()
    assert result.errors["slow_consumer"] >= 1
    assert result.failed
