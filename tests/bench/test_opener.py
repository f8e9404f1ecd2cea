"""Connections that an open loop loses are replaced: its schedule is always sent, and
what could not be sent is counted."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from epollo import Connection, Server, address
from epollo.bench import Driver, Result, Workload, run
from epollo.bench.load.rates import Step
from epollo.bench.output.text import render
from epollo.bench.results.verdict import Verdict
from epollo.engine import available
from tests.bench.hostile import Accepted, hostile
from tests.support import DEADLINE, until

CONNECTIONS = 2
MESSAGES = 200
SHORT = 0.5  # seconds; a timeout, where waiting for it is the test


@pytest.fixture(params=available())
def load(request: pytest.FixtureRequest) -> Callable[..., Workload]:
    """A workload whose messages are all measured, on each engine."""

    def scheduled(to: str, **changes: Any) -> Workload:
        settings: dict[str, Any] = {"connections": CONNECTIONS, "messages": MESSAGES, "rate": 1000}
        settings |= {"duration": None, "warmup": 0, "timeout": DEADLINE, "engine": request.param}
        return Workload(address=to, **settings | changes)

    return scheduled


def is_complete(result: Result, messages: int = MESSAGES) -> bool:
    """Was each scheduled message sent or counted as unsent, and is each in the figures once?"""
    unsent = result.errors.get("unsent", 0)
    times = result.response.total, result.service.total
    return result.sent + unsent == messages and times == (messages, messages)


def echo(peer: Accepted) -> None:
    while request := peer.next_frame():
        peer.send(request)


def test_a_stall_longer_than_the_timeout_costs_what_was_under_way_and_no_more(
    load: Callable[..., Workload],
) -> None:
    order, echoed = count(), count(1)
    drivers: list[Driver] = []

    def stall_at_first(peer: Accepted) -> None:
        if next(order) < CONNECTIONS:
            peer.talk()
            peer.hold()
        while request := peer.next_frame():
            peer.send(request)
            if next(echoed) == 200:
                drivers[0].stop()

    timeout = 2.5  # seconds; no other connection stalls for as long
    with hostile(stall_at_first) as where:
        drivers.append(Driver(load(where, timeout=timeout, messages=None, duration=60)))
        result = drivers[0].run()
    assert is_complete(result, result.sent)
    assert set(result.errors) == {"unanswered"}
    assert result.messages == result.sent - result.unanswered >= 200
    assert result.lost == CONNECTIONS
    assert result.connect.total == 2 * CONNECTIONS
    assert result.response.maximum >= timeout * 1e9
    assert f"; {CONNECTIONS} connections lost; " in str(Verdict.of(result))


def test_connections_that_break_again_and_again_are_replaced(load: Callable[..., Workload]) -> None:
    def reset(peer: Accepted) -> None:
        peer.talk()
        peer.next_frame()
        peer.reset()

    with hostile(reset) as where:
        result = run(load(where))
    assert is_complete(result)
    assert result.errors.keys() == {"reset", "unanswered"}
    assert result.lost == result.errors["reset"] > CONNECTIONS


@contextmanager
def leaving(port: int = 0, then: Callable[[int], object] = lambda _: None) -> Iterator[str]:
    """A server that answers some messages on each of its connections, and is gone: nobody listens
    there any more. ``then`` is called with the port."""

    def serve() -> None:
        with listener:
            peers = [Accepted(listener.accept()[0]) for _ in range(CONNECTIONS)]
            port = listener.getsockname()[1]
        for _ in range(10):
            for peer in peers:
                peer.send(peer.next_frame())
        for peer in peers:
            peer.close()
        then(port)

    listener = socket.create_server(("127.0.0.1", port))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(address.of(listener.getsockname()))
    finally:
        thread.join()


def test_a_server_that_is_gone_for_good_ends_the_run_and_what_was_due_is_counted(
    load: Callable[..., Workload],
) -> None:
    with leaving() as where:
        result = run(load(where, timeout=SHORT, messages=None, duration=60))
    unsent = result.errors["unsent"]
    assert unsent >= SHORT * 1000
    assert result.errors["connect_refused"] > 1
    assert is_complete(result, result.sent + unsent)
    assert result.sent + unsent == pytest.approx(result.elapsed * 1000, abs=2)
    assert SHORT < result.elapsed < 60
    slow = sum(times for _, high, times in result.response.buckets() if high >= SHORT * 1e9)
    assert slow >= unsent
    assert str(Verdict.of(result)).endswith(", when no connection was left")


def test_what_is_due_while_a_server_restarts_waits_for_it(load: Callable[..., Workload]) -> None:
    """And its response time has the wait in it, for it runs from the time that it was due."""
    drivers: list[Driver] = []
    again: list[Server] = []

    def come_back(port: int) -> None:
        until(lambda: drivers[0].counters.errors["connect_refused"] > CONNECTIONS)
        again.append(Server(lambda message: message, f"127.0.0.1:{port}"))
        again[0].__enter__()

    with leaving(then=come_back) as where:
        drivers.append(Driver(load(where, messages=1000)))
        result = drivers[0].run()
    again[0].__exit__(None, None, None)
    assert is_complete(result, 1000)
    assert "unsent" not in result.errors
    assert result.lost == CONNECTIONS
    assert result.messages == 1000 - result.errors.get("unanswered", 0)
    assert result.slip.maximum > 1e6  # nobody was there to send it to
    assert result.response.maximum >= result.slip.maximum * 0.99


def test_what_is_due_at_the_end_waits_for_a_connection_that_is_being_opened(
    load: Callable[..., Workload],
) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        where = server.addresses[0]
        result = run(load(where, connections=1, messages=None, duration=0.2, reconnect_every=1))
    assert result.errors == {}
    assert result.lost == 0
    assert is_complete(result, result.sent)
    assert result.sent == pytest.approx(200, abs=1)


def test_what_a_slow_tester_cannot_send_is_counted(load: Callable[..., Workload]) -> None:
    """Its schedule has more messages than any process could send in the time."""
    with Server(lambda message: message, "127.0.0.1:0") as server:
        workload = load(
            server.addresses[0], rate=1e6, messages=None, duration=0.1, timeout=SHORT / 2
        )
        result = run(workload)
    assert result.errors["unsent"] > 0
    assert is_complete(result, result.sent + result.errors["unsent"])
    assert result.sent + result.errors["unsent"] == pytest.approx(100_000, abs=1)
    assert not result.on_time


def test_a_plan_that_is_ended_early_leaves_nothing_unsent(load: Callable[..., Workload]) -> None:
    drivers: list[Driver] = []
    messages = count(1)

    def received(message: bytes, connection: Connection) -> bytes:
        if next(messages) == 50:
            drivers[0].stop()
        return message

    with Server(received, "127.0.0.1:0") as server:
        drivers.append(Driver(load(server.addresses[0], messages=None, duration=60, rate=5000)))
        result = drivers[0].run()
    assert result.errors == {}
    assert result.interrupted
    assert is_complete(result, result.messages)
    assert 50 - CONNECTIONS <= result.messages <= result.elapsed * 5000 + 2


def test_a_plan_that_is_ended_in_the_warm_up_has_nothing_to_count(
    load: Callable[..., Workload],
) -> None:
    """Least of all what was due in an hour of it."""
    drivers: list[Driver] = []

    def received(message: bytes, connection: Connection) -> bytes:
        drivers[0].stop()
        return message

    with Server(received, "127.0.0.1:0") as server:
        drivers.append(Driver(load(server.addresses[0], warmup=3600, rate=1e6)))
        result = drivers[0].run()
    assert (result.sent, result.response.total, result.errors) == (0, 0, {})
    assert result.interrupted


# -- how many are opened a second

RATE = 2  # connections a second: the third may come a second after the first, at the earliest


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each connect of this process began."""
    start_connect = address.start_connect
    times: list[float] = []

    def start(*arguments: Any) -> socket.socket:
        times.append(time.monotonic())
        return start_connect(*arguments)

    monkeypatch.setattr(address, "start_connect", start)
    return times


@pytest.mark.parametrize("rate", [None, 2000], ids=["closed", "open"])
def test_no_more_connections_are_opened_a_second_than_may_be(
    rate: float | None, load: Callable[..., Workload], begun: list[float]
) -> None:
    with Server(lambda message: message, "127.0.0.1:0") as server:
        paced: dict[str, Any] = {"connection_rate": RATE, "rate": rate, "warmup": 0.01}
        before = time.monotonic()  # a connect may begin long after its turn
        assert run(load(server.addresses[0], connections=3, **paced)).errors == {}
    assert len(begun) == 3
    assert begun[2] - before >= 0.99


def test_no_more_connections_are_opened_a_second_after_a_time_without_any(
    begun: list[float],
) -> None:
    """All three end at once, more than a second after they were opened, and are replaced."""
    together, quiet = threading.Barrier(3), threading.Event()
    ended: list[float] = []

    def serve(peer: Accepted) -> None:
        request = peer.next_frame()
        if len(begun) <= 3:
            together.wait(DEADLINE)
            quiet.wait(2.2 / RATE)
        ended.append(time.monotonic())
        peer.send(request)
        peer.hold()

    with hostile(serve) as where:
        load: dict[str, Any] = {"messages": 6, "duration": None, "warmup": 0, "timeout": DEADLINE}
        load |= {"connections": 3, "connection_rate": RATE, "reconnect_every": 1}
        assert run(Workload(address=where, **load)).errors == {}
    assert len(begun) == 6
    assert begun[5] - ended[0] >= 0.99


def test_no_more_connections_are_opened_a_second_by_all_processes_together() -> None:
    """The server sees it, and may accept the first one late: so half a second is enough."""
    accepted: list[float] = []

    def serve(peer: Accepted) -> None:
        accepted.append(time.monotonic())
        echo(peer)

    with hostile(serve) as where:
        load: dict[str, Any] = {"messages": 4, "duration": None, "timeout": DEADLINE}
        load |= {"connections": 4, "processes": 2, "connection_rate": RATE, "warmup": 0.01}
        assert run(Workload(address=where, **load)).errors == {}
    accepted.sort()
    assert len(accepted) == 4
    assert accepted[2] - accepted[0] >= 0.5


# -- a rate out of reach


MOST = 100_000  # messages, more than any tester can send in the time that it has
AN_HOUR = 3600.0  # seconds, when no run here goes on any more


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The messages whose due time was computed one by one; beyond `MOST` of them, none is due."""
    time_of, numbers = Step.time_of, list[float]()

    def work_out(step: Step, number: float) -> float:
        numbers.append(number)
        return time_of(step, number) if len(numbers) <= MOST else AN_HOUR

    monkeypatch.setattr(Step, "time_of", work_out)
    return numbers


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
def test_messages_that_are_never_sent_cost_no_work_each(
    arrival: str, load: Callable[..., Workload], scheduled: list[float]
) -> None:
    seconds = 0.02
    settings: dict[str, Any] = {
        "rate": 1e9,
        "messages": None,
        "duration": seconds,
        "timeout": seconds,
    }
    with Server(lambda message: message, "127.0.0.1:0") as server:
        result = run(load(server.addresses[0], arrival=arrival, **settings))
    assert len(scheduled) <= MOST
    unsent = result.errors["unsent"]
    assert result.sent + unsent == result.response.total == pytest.approx(1e9 * seconds, rel=0.01)


# -- connections closed while idle


@pytest.mark.parametrize("idle", [{"rate": 2}, {"rate": None, "think": 0.5}], ids=["open", "think"])
def test_a_connection_closed_while_idle_is_an_error_of_its_own_with_advice(
    idle: dict[str, Any], load: Callable[..., Workload]
) -> None:
    def close_after_two(peer: Accepted) -> None:
        for _ in range(2):
            peer.send(peer.next_frame())

    with hostile(close_after_two) as where:
        workload = load(where, connections=1, messages=3, **idle)
        result = run(workload)
    assert result.errors.keys().isdisjoint({"closed_early", "unanswered"})
    [(kind, times)] = result.errors.items()
    assert times == 1
    report = render(Verdict.of(result))
    assert "while replies were due" not in report
    assert re.search(rf"{kind} +1   \w+", report), "what it means, or what to do"


def test_messages_that_are_never_sent_are_not_outstanding(load: Callable[..., Workload]) -> None:
    with leaving() as where:
        result = run(load(where, timeout=0.3, messages=None, duration=60))
    assert result.errors["unsent"] > 2 * result.sent
    assert result.concurrency <= result.sent
