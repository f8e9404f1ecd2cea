"""A small run of the third claim's experiment, with a real server, without exact timing."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing

import pytest

from epollo import address
from epollo.engine import new_loop
from epollo.errors import ConnectError, EpolloError, UsageError
from epollo.lab.backlog import BacklogResult, run_backlog
from epollo.lab.busy_server import BusyServer, busy_server
from epollo.lab.clients import connect_at_once, wait_for_replies
from epollo.lab.kernel import COUNTERS, difference, parse_counters, tcp_counters
from tests.engine.support import turn_until
from tests.support import DEADLINE


def test_a_result_for_every_queue_in_order(backlog_result: BacklogResult) -> None:
    assert [found.queue for found in backlog_result.results] == [1, 64]


def test_every_client_is_accounted_for(backlog_result: BacklogResult) -> None:
    for found in backlog_result.results:
        assert found.clients == backlog_result.clients == 8
        assert found.prompt + found.late + found.never == 8
        assert found.connected == found.clients - found.never + found.connected_unserved
        for attempt in found.attempts:
            assert attempt.closed is None
            if attempt.replied is not None:
                assert attempt.connected is not None
                assert attempt.connected <= attempt.replied


def test_no_client_is_answered_before_the_server_is_free(backlog_result: BacklogResult) -> None:
    for found in backlog_result.results:
        assert found.replied_by(backlog_result.busy / 2) == 0


def test_a_queue_with_room_for_all_serves_all_and_ends_early() -> None:
    (found,) = run_backlog([64], clients=8, busy=0.05, wait=60).results
    assert found.never == 0
    assert found.last_reply is not None


@pytest.mark.skipif(sys.platform != "linux", reason="one more than the queue's length is Linux's")
def test_a_queue_without_room_makes_the_kernel_try_again(backlog_result: BacklogResult) -> None:
    short = backlog_result.results[0]
    # Two get into the queue at once; the others send their second SYN after a second.
    assert short.replied_by(0.9) <= 2
    assert short.counters["TCPSynRetrans"] >= 6
    assert short.counters["ListenOverflows"] >= 6


def test_an_interrupt_ends_the_server() -> None:
    bound = []

    def interrupt(server: BusyServer) -> None:
        bound.append(server.address)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), busy_server(8, 0.01) as server:
        interrupt(server)
    with pytest.raises(ConnectError):
        address.connect(bound[0], timeout=1)


def test_clients_of_a_server_that_is_never_free_are_connected_and_not_served() -> None:
    with busy_server(8, busy=0.0) as server, closing(new_loop()) as loop:
        clients = connect_at_once(loop, server.address, 3)  # begin() is never called
        turn_until(loop, lambda: all(client.attempt.connected is not None for client in clients))
        wait_for_replies(loop, clients, time.monotonic() + 0.1)
        attempts = [client.attempt for client in clients]
    assert all(attempt.connected is not None for attempt in attempts)
    assert all(attempt.replied is None and attempt.closed is None for attempt in attempts)


def test_clients_that_are_refused_are_done_and_have_no_reply() -> None:
    with busy_server(8, busy=0.0) as server:
        bound = server.address
    with closing(new_loop()) as loop:
        clients = connect_at_once(loop, bound, 2)
        wait_for_replies(loop, clients, time.monotonic() + DEADLINE)
        assert [client.attempt.closed for client in clients] == ["refused", "refused"]


def test_a_server_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(EpolloError, match="the server ended"), busy_server(8, 0.1):
        pass


def test_too_few_descriptors_are_one_line_that_names_the_fix() -> None:
    with pytest.raises(UsageError, match=r"clients .* ulimit -Hn$"):
        run_backlog([1], clients=10_000_000)


def test_counters_are_read_from_pairs_of_lines() -> None:
    text = "TcpExt: A B\nTcpExt: 1 2\nIpExt: A C\nIpExt: 8 9\nTcp: D\nTcp: -1\n"
    assert parse_counters(text) == {"A": 1, "B": 2, "D": -1}
    assert difference({"A": 1, "B": 2}, {"A": 4, "B": 2}) == {"A": 3, "B": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_kernel_has_the_counters_that_are_shown() -> None:
    assert set(tcp_counters()) == set(COUNTERS)
