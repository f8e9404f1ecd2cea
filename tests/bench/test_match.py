"""Replies matched by an identifier: in any order, and each wrong one counted as what it is."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from epollo.bench import Driver, Result, Workload, run
from epollo.bench.load.matching import match_of
from epollo.engine import available
from epollo.errors import EpolloError, HandlerError, SettingError
from tests.bench.hostile import Accepted, Serve, hostile
from tests.engines import Engine
from tests.logs import Log
from tests.support import frame

MESSAGES = 41  # the first one, and pairs
FUNCTIONS = """
from epollo.client import Match

def first_word(line):
    return line.split()[0]

def broken(reply):
    return reply[1000]

def unhashable(message):
    return [message[0]]

def none(message):
    return None

def raises_for_replies(message):
    if message.startswith(b"reply"):
        raise ValueError("no identifier")
    return message

in_reply = Match(first_word, lambda reply: reply.split()[1])
stamped = Match(first_word, None, lambda message, number: b"%d %s" % (number, message))
appended = Match(
    lambda message: message[64:], None, lambda message, number: message + b"%d" % number
)
number = 5
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the present directory, another one for each test."""
    name = f"matches_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def load(where: str, engine: str, **changes: Any) -> Result:
    return run(workload(where, engine, **changes))


def workload(where: str, engine: str, **changes: Any) -> Workload:
    settings: dict[str, Any] = {
        "connections": 1,
        "depth": 4,
        "messages": MESSAGES,
        "duration": None,
        "warmup": 0,
        "timeout": 3.0,
        "match": "bytes(0,8)",
    }
    return Workload(address=where, engine=engine, **settings | changes)


def reversing(answer: Callable[[bytes], bytes] = bytes) -> Serve:
    """Answers the first message alone, since a connection begins with one, and then each pair of
    messages at once, the second one first."""

    def serve(peer: Accepted) -> None:
        peer.send(frame(answer(peer.next_frame()[4:])))
        while messages := [each for _ in range(2) if (each := peer.next_frame())]:
            for message in reversed(messages):
                peer.send(frame(answer(message[4:])))

    return serve


@pytest.mark.parametrize("expect", ["echo", "any"])
def test_replies_in_another_order_are_correct(engine: Engine, expect: str) -> None:
    with hostile(reversing()) as where:
        result = load(where, engine.name, expect=expect)
    assert result.errors == {}
    assert result.messages == MESSAGES
    assert result.response.total == MESSAGES


def test_an_open_loop_matches_too(engine: Engine) -> None:
    with hostile(reversing()) as where:
        result = load(where, engine.name, depth=1, rate=2000, messages=40)
    assert result.errors == {}
    assert result.messages == 40


def test_without_a_match_they_are_in_the_wrong_order(engine: Engine) -> None:
    with hostile(reversing()) as where:
        result = load(where, engine.name, match="")
    assert result.errors["wrong_order"] > 0


def test_a_server_without_order_is_loaded(engine: Engine) -> None:
    count = iter(range(1000))

    async def echo(message: bytes) -> bytes:
        if next(count) % 2:
            await asyncio.sleep(0.005)
        return message

    with engine.server(echo, ordered=False, in_flight=4, loop="asyncio") as server:
        result = load(server.addresses[0], engine.name)
    assert result.errors == {}
    assert result.messages == MESSAGES


@pytest.mark.parametrize("expect", ["echo", "any"])
def test_equal_messages_are_stamped(engine: Engine, tmp_path: Path, expect: str) -> None:
    (tmp_path / "content").write_bytes(b"\0\0 this is the request" + bytes(42))
    content = tmp_path / "content"
    seen: list[bytes] = []

    def serve(message: bytes) -> bytes:
        seen.append(message)
        return message

    with hostile(reversing(serve)) as where:
        result = load(
            where,
            engine.name,
            payload=str(content),
            match="bytes(0,2,stamp)",
            expect=expect,
        )
    assert result.errors == {}
    assert sorted(int.from_bytes(message[:2], "big") for message in seen) == list(range(MESSAGES))
    assert {message[2:] for message in seen} == {content.read_bytes()[2:]}


@pytest.mark.parametrize("match", ["bytes(0,1)", "bytes(3,1,stamp)"])
def test_an_identifier_comes_again_once_it_is_free(engine: Engine, match: str) -> None:
    with hostile(reversing()) as where:
        result = load(where, engine.name, match=match, messages=601)
    assert result.errors == {}
    assert result.messages == 601


def test_one_that_is_outstanding_is_skipped(engine: Engine) -> None:
    """The reply to the third message never comes; 256 others wait for none of the identifiers."""
    count = iter(range(10_000))

    def serve(peer: Accepted) -> None:
        while message := peer.next_frame():
            if next(count) != 2:
                peer.send(message)

    with hostile(serve) as where:
        result = load(where, engine.name, match="bytes(0,1)", messages=600, timeout=2.0)
    assert result.errors == {"unanswered": 1}
    assert result.messages == 599


def test_too_few_identifiers_end_the_run_in_one_line(engine: Engine) -> None:
    def answer_the_first(peer: Accepted) -> None:
        peer.send(peer.next_frame())
        peer.hold()

    with (
        hostile(answer_the_first) as where,
        pytest.raises(
            SettingError, match=r"^match: all identifiers are taken, with 256 messages"
        ) as why,
    ):
        load(where, engine.name, match="bytes(0,1)", rate=100_000, depth=1, messages=10_000)
    assert "\n" not in str(why.value)


@pytest.mark.skipif("native" not in available(), reason="no native engine here")
@pytest.mark.parametrize(
    "changes",
    [
        {"match": "bytes(0,8)"},
        {"match": "bytes(0,8)", "expect": "any"},
        {"match": "bytes(1,2,stamp)"},
        {"match": "bytes(0,4,stamp)", "payload": __file__, "expect": "any"},
    ],
)
def test_an_identifier_at_a_fixed_place_costs_no_call_of_a_python_function(
    changes: dict[str, Any],
) -> None:
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_filename)

    with Engine("native", "auto").server(lambda message: message) as server:
        sys.setprofile(note)
        try:
            result = load(server.addresses[0], "native", messages=10_000, **changes)
        finally:
            sys.setprofile(None)
    assert result.errors == {}
    assert sum("/bench/run/" in file or "/bench/load/" in file for file in called) < 3000
    assert sum("/client/" in file for file in called) < 100


# -- wrong replies


def every_fifth(spoil: Callable[[bytes], bytes]) -> Serve:
    """An echo server; what it sends for every fifth message is made by ``spoil``."""

    def serve(peer: Accepted) -> None:
        number = 0
        while message := peer.next_frame():
            number += 1
            peer.send(message if number % 5 else spoil(message))

    return serve


FAULTS: dict[str, tuple[Callable[[bytes], bytes], dict[str, int]]] = {
    "duplicate": (lambda message: 2 * message, {"duplicate": 4}),
    "unknown": (lambda message: message + frame(b"\xff" * 64), {"extra": 4}),
    "too short for one": (lambda message: message + frame(b"123"), {"extra": 4}),
    "another content": (lambda message: message[:-1] + b"?", {"wrong_bytes": 4}),
    "cut": (lambda message: frame(message[4:-1]), {"short": 4}),
}


@pytest.mark.parametrize(("spoil", "errors"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_counted(
    engine: Engine, spoil: Callable[[bytes], bytes], errors: dict[str, int]
) -> None:
    with hostile(every_fifth(spoil)) as where:
        result = load(where, engine.name, messages=20)
        errors = dict(errors)
        # What follows the last reply of a run may come after its end.
        found = dict(result.errors)
    (name,) = errors
    assert set(found) == {name}
    assert errors[name] - 1 <= found[name] <= errors[name]
    wrong = found[name] if name in ("wrong_bytes", "short") else 0
    assert result.messages == 20 - wrong
    assert result.response.total == 20


def test_a_late_reply_is_counted_once_as_unanswered(engine: Engine) -> None:
    """It comes after its message was given up, while others were answered in time."""
    timeout = 2.5  # seconds; a peer that stands still for two answers in time

    def serve(peer: Accepted) -> None:
        peer.send(peer.next_frame())
        late = peer.next_frame()
        until = monotonic() + 2 * timeout
        while message := peer.next_frame():
            peer.send(message)
            if late and monotonic() > until:
                peer.send(late)
                late = b""
                drivers[0].stop()

    drivers: list[Driver] = []
    settings = {"depth": 2, "messages": None, "duration": 60.0, "timeout": timeout}
    with hostile(serve) as where:
        drivers.append(Driver(workload(where, engine.name, **settings)))
        result = drivers[0].run()
    assert result.errors == {"unanswered": 1}
    assert result.messages == result.sent - 1
    assert 1 < result.concurrency <= 2
    assert result.lost == 0


def test_a_connection_on_which_nothing_comes_is_given_up(engine: Engine) -> None:
    with hostile(lambda peer: peer.hold()) as where:
        result = load(where, engine.name, timeout=0.2)
    assert result.errors == {"unanswered": 1}
    assert result.messages == 0


# -- functions of the user's


def lines(answer: Callable[[bytes], bytes]) -> Serve:
    """A server of lines that answers two at once, the last one first."""

    def serve(peer: Accepted) -> None:
        reader = peer.socket.makefile("rb")
        peer.send(answer(reader.readline().rstrip()) + b"\n")
        while messages := [line.rstrip() for _ in range(2) if (line := reader.readline())]:
            for message in reversed(messages):
                peer.send(answer(message) + b"\n")

    return serve


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("first_word", bytes),
        ("in_reply", lambda message: b"to " + message),
        ("stamped", bytes),
    ],
)
def test_a_function_finds_it(
    engine: Engine, module: str, name: str, answer: Callable[[bytes], bytes]
) -> None:
    with hostile(lines(answer)) as where:
        result = load(
            where,
            engine.name,
            match=f"{module}:{name}",
            expect="any",
            framing="line",
            template="request" if name == "stamped" else "{number} request",
        )
    assert result.errors == {}
    assert result.messages == MESSAGES


def test_what_a_function_raises_for_a_reply_is_shown_once(
    engine: Engine, module: str, log: Log
) -> None:
    with hostile(lines(lambda _: b"reply")) as where:
        result = load(
            where,
            engine.name,
            match=f"{module}:raises_for_replies",
            framing="line",
            timeout=0.2,
        )
    assert result.errors["extra"] >= 1
    assert result.messages == 0
    [(level, line)] = log.take_with_levels()
    assert level == logging.ERROR
    assert "raises_for_replies raised" in line
    assert "ValueError: no identifier" in line


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"match": "bytes(0)"}, r"match: 'bytes\(0\)' is not known; write bytes\(OFFSET,SIZE\)"),
        ({"match": "first"}, "match: 'first' is not known"),
        ({"match": "bytes(0,0)"}, "match: 'bytes.*' is not known|size=0 is not"),
        ({"match": "bytes(60,8)"}, r"match: a message of 64 bytes has no bytes\(60,8\); use larg"),
        ({"match": "bytes(0,2)", "payload": __file__}, "match: all messages have the same ident"),
        ({"match": "bytes(0,2,stamp)", "framing": "line"}, "match: a stamp is binary, and may hav"),
        ({"match": "{module}:number"}, "match: 5 is not known"),
        ({"match": "{module}:broken"}, "match: .*:broken raised IndexError"),
        ({"match": "{module}:unhashable"}, "match: .*:unhashable raised TypeError"),
        ({"match": "{module}:none"}, "match: .*:none finds no identifier in the messages"),
        ({"match": "{module}:nothing"}, "match .*has no 'nothing'"),
    ],
)
def test_what_cannot_be_matched_is_refused_before_the_first_connect(
    module: str, changes: dict[str, Any], why: str
) -> None:
    changes = {name: value.replace("{module}", module) for name, value in changes.items()}
    with pytest.raises((SettingError, HandlerError), match=why) as caught:
        load("127.0.0.1:1", "auto", **changes)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, EpolloError)


def test_one_message_at_a_time_needs_no_stamp(engine: Engine) -> None:
    with engine.server(lambda message: message) as server:
        result = load(server.addresses[0], engine.name, payload=__file__, depth=1)
    assert result.errors == {}


def test_no_match_is_none() -> None:
    assert match_of("") is None


# -- framings whose length stands inside the message


@pytest.mark.parametrize("expect", ["echo", "any"])
def test_a_stamp_and_a_length_are_written_into_one_message(
    engine: Engine, tmp_path: Path, expect: str
) -> None:
    """A request of Modbus, whose transaction identifier comes first."""
    (tmp_path / "request").write_bytes(bytes.fromhex("ffff000000061103006b0003"))
    heard: list[bytes] = []

    def listen(message: bytes) -> bytes:
        heard.append(message)
        return message

    changes = {"payload": str(tmp_path / "request"), "match": "bytes(0,2,stamp)"}
    with engine.server(listen, framing="modbus") as server:
        result = load(server.addresses[0], engine.name, framing="modbus", expect=expect, **changes)
    assert result.errors == {}
    assert [message[:2] for message in heard] == [n.to_bytes(2, "big") for n in range(MESSAGES)]
    assert {message[2:].hex() for message in heard} == {"000000061103006b0003"}


def test_a_stamp_by_a_function_leaves_the_length_right(engine: Engine, module: str) -> None:
    """It makes the message longer."""
    with engine.server(lambda message: message, framing="modbus") as server:
        result = load(
            server.addresses[0], engine.name, framing="modbus", match=f"{module}:appended"
        )
    assert result.errors == {}
    assert result.messages == MESSAGES


def test_an_identifier_where_the_length_stands_is_refused() -> None:
    why = r"match: bytes\(4,4\) overlaps the length that modbus writes into bytes 4 to 5"
    with pytest.raises(SettingError, match=why):
        load("127.0.0.1:1", "auto", framing="modbus", match="bytes(4,4)")
