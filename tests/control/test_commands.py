"""The commands of the control socket, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from epollo.control.commands import MOST_OPEN, Commands
from epollo.control.inquirer import Values
from tests.control.support import FakeServer, connection, figures, run


def two_workers() -> FakeServer:
    return FakeServer((11, 0), (12, 1))


def test_workers_are_listed_with_their_figures() -> None:
    server = two_workers()
    server.answers = {11: figures(), 12: None}
    answer = run(server, "workers")
    assert [(row["worker"], row["pid"], row["stage"]) for row in answer["workers"]] == [
        (1, 11, "serves"),
        (2, 12, "serves"),
    ]
    assert answer["workers"][0]["figures"] == figures()
    assert answer["workers"][1]["figures"] is None
    assert answer["unanswered"] == [{"worker": 2, "pid": 12}]


def test_the_status_adds_up_all_workers() -> None:
    server = two_workers()
    server.answers = {11: figures(), 12: figures()}
    answer = run(server, "status")
    assert answer["totals"]["messages_in"] == 20
    assert run(server, "figures")["totals"] == answer["totals"]
    assert (answer["serving"], answer["booting"], answer["draining"]) == (2, 0, 0)
    assert answer["version"]


def test_connections_of_all_processes_are_merged_in_order() -> None:
    server = two_workers()
    server.answers = {
        11: {"total": 5, "connections": [connection(1, unsent=9), connection(2, unsent=3)]},
        12: {"total": 4, "connections": [connection(1, unsent=7)]},
    }
    answer = run(server, "connections", limit=2)
    assert [row["id"] for row in answer["connections"]] == ["11:1", "12:1"]
    assert [row["worker"] for row in answer["connections"]] == [1, 2]
    assert answer["total"] == 9
    assert server.asked == [("connections", None, {"sort": "unsent", "limit": 2})]


def test_connections_of_one_worker_are_asked_of_its_processes_only() -> None:
    server = FakeServer((11, 0), (12, 1), (13, 1))
    server.answers = {pid: {"total": 1, "connections": [connection(1)]} for pid in (12, 13)}
    answer = run(server, "connections", worker=2)
    assert [process for _, process, _ in server.asked] == [12, 13]
    assert {row["id"] for row in answer["connections"]} == {"12:1", "13:1"}


def test_closed_connections_of_all_processes_are_merged_the_newest_first() -> None:
    server = two_workers()
    rows = [{"id": number, "at": float(at)} for number, at in ((1, 10), (2, 30), (3, 20))]
    server.answers = {
        11: {"total": 2, "closed": rows[:2]},
        12: {"total": 1, "closed": rows[2:]},
    }
    answer = run(server, "closed", reason="eof", limit=2)
    assert [row["id"] for row in answer["closed"]] == ["11:2", "12:3"]
    assert answer["total"] == 3
    assert server.asked[0][2] == {"reason": "eof", "peer": None, "limit": 2}


def test_a_connection_is_closed_in_its_own_process() -> None:
    server = two_workers()
    server.answers = {12: {"closed": True}}
    assert run(server, "close", connection="12:7", abort=True)["closed"] == 1
    assert server.asked == [("close", 12, {"connection": 7, "abort": True})]


def test_in_one_process_the_number_is_enough() -> None:
    server = FakeServer((11, None))
    server.answers = {11: {"closed": True}}
    assert run(server, "close", connection="7")["closed"] == 1


def test_connections_of_a_peer_are_closed_in_all_processes() -> None:
    server = two_workers()
    server.answers = {11: {"closed": 2}, 12: {"closed": 0}}
    assert run(server, "close", peer="192.0.2.1")["closed"] == 2


def test_a_worker_that_does_not_answer_is_named() -> None:
    server = two_workers()
    server.answers = {11: {"closed": 0}, 12: None}
    assert run(server, "close", connection="12:7") == {"error": "process 12 does not answer"}
    assert run(server, "close", peer="192.0.2.1") == {"error": "process 12 does not answer"}


def test_an_operation_that_takes_time_is_answered_at_its_end() -> None:
    server = two_workers()
    answers: list[Values] = []
    Commands(server, server).run(b'{"command": "reload"}', answers.append)
    Commands(server, server).run(b'{"command": "drain", "worker": 2}', answers.append)
    assert server.did == ["reload", ("drain", 1)]
    assert answers == []
    server.waiting[1]({"worker": 2})
    assert answers == [{"worker": 2}]


def test_the_log_level_of_the_supervisor_is_set_once_the_workers_have_agreed() -> None:
    server = two_workers()
    server.answers = {11: {"level": "debug"}, 12: {"level": "debug"}}
    answer = run(server, "log_level", level="debug", logger="epollo.server")
    assert [row["pid"] for row in answer["levels"]] == [1, 11, 12]
    assert server.did == [("log_level", "debug", "epollo.server")]
    server.answers[12] = {"error": "no such logger"}
    assert run(server, "log_level", level="info") == {"error": "no such logger"}
    assert len(server.did) == 1


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("connection", {}, "no command 'connection': did you mean connections?"),
        ("nonsense", {}, "no command 'nonsense': there are status, workers"),
        ("connections", {"sort": "size"}, "no sort 'size': there are unsent"),
        ("connections", {"sort": "unsend"}, "no sort 'unsend': did you mean unsent?"),
        (
            "closed",
            {"reason": "slow_consumers"},
            "no reason 'slow_consumers': did you mean slow",
        ),
        ("closed", {"reason": "nonsense"}, "no reason 'nonsense': there are "),
        ("closed", {"reason": "n" * 4000}, f"no reason '{'n' * 40}': there are "),
        ("connections", {"limit": 0}, f"limit: 0 is not from 1 to {MOST_OPEN}"),
        ("connections", {"limit": MOST_OPEN + 1}, "limit: "),
        ("connections", {"limit": "7"}, "connections: limit is not of the type int"),
        ("connections", {"limit": True}, "connections: limit is not of the type int"),
        ("connections", {"worker": 3}, "no worker 3: there are 1, 2"),
        ("connections", {"colour": 3}, "connections: no argument 'colour': there are sort"),
        ("connections", {"connection": "11:5"}, "no connection 11:5: it is closed, or never was"),
        ("status", {"worker": 3}, "status: no argument 'worker': there are none"),
        ("close", {}, "close: name one connection"),
        ("close", {"connection": "11:1", "peer": "a"}, "close: name one connection"),
        ("close", {"connection": "1"}, "'1' is no connection: write PROCESS:NUMBER"),
        ("close", {"connection": "11:²"}, "'11:²' is no connection"),
        ("close", {"connection": f"11:{'9' * 5000}"}, "'11:999"),
        ("close", {"connection": "99:1"}, "no connection 99:1"),
        ("close", {"connection": "11:1"}, "no connection 11:1: it is closed, or never was"),
        ("close", {"peer": "192.0.2.1"}, "no connection of 192.0.2.1"),
        ("drain", {}, "drain: name a worker"),
        ("log_level", {"level": "loud"}, "no level 'loud': there are debug"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    command: str, arguments: dict[str, Any], text: str
) -> None:
    server = two_workers()
    server.answers = {pid: {"closed": 0, "total": 0, "connections": []} for pid in (11, 12)}
    answer = run(server, command, **arguments)
    assert answer["error"].startswith(text)
    assert "\n" not in answer["error"]
    assert server.did == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b"[]",
        b"{}",
        b'{"command": 1}',
        b"\xff\xfe",
        b"[" * 60_000,
        b"null",
        b"1e999",
    ],
)
def test_what_is_no_request_is_an_error(line: bytes) -> None:
    answers: list[Values] = []
    Commands(two_workers(), two_workers()).run(line, answers.append)
    assert [list(answer) for answer in answers] == [["error"]]


def test_an_operation_that_is_refused_says_why() -> None:
    server = two_workers()
    server.refusal = "the server is stopping"
    assert run(server, "reload") == {"error": "the server is stopping"}
    assert run(server, "drain", worker=1) == {"error": "the server is stopping"}
