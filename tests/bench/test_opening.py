"""What comes on each connection before the first message: a greeting, a preamble, its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from epollo.bench import Result, Workload, run
from epollo.errors import ConnectError, SettingError
from tests.bench.hostile import Accepted, Serve, hostile
from tests.engines import Engine
from tests.support import DEADLINE, frame

GREETING = [b"220 ready", b"say who you are"]
LOGIN = b"LOGIN somebody"
REPLIES = [b"331 and?", b"230 welcome"]
MESSAGES = 30


@pytest.fixture
def login(tmp_path: Path) -> str:
    """The file of the preamble."""
    (tmp_path / "login").write_bytes(LOGIN)
    return str(tmp_path / "login")


def load(where: str, engine: str, **changes: Any) -> Result:
    settings: dict[str, Any] = {"connections": 2, "messages": MESSAGES, "duration": None}
    settings |= {"warmup": 0, "timeout": DEADLINE, "depth": 3}
    return run(Workload(address=where, engine=engine, **settings | changes))


def greeting(greeting: list[bytes], login: bytes, replies: list[bytes]) -> Serve:
    """A server that closes unless it is spoken to in turn."""

    def serve(peer: Accepted) -> None:
        peer.send(b"".join(map(frame, greeting)))
        if login and peer.receive(len(frame(login))) != frame(login):
            return
        peer.send(b"".join(map(frame, replies)))
        while message := peer.next_frame():
            peer.send(message)

    return serve


@pytest.mark.parametrize("match", ["", "bytes(0,8)"])
@pytest.mark.parametrize(
    ("said", "preamble", "replies"),
    [
        (GREETING, False, []),
        ([], True, []),
        ([], True, REPLIES),
        (GREETING, True, REPLIES),
    ],
    ids=["greeting", "preamble", "preamble with replies", "all"],
)
def test_none_of_it_is_measured(
    engine: Engine, login: str, match: str, said: list[bytes], preamble: bool, replies: list[bytes]
) -> None:
    changes = {
        "greeting": len(said),
        "preamble": login if preamble else "",
        "preamble_replies": len(replies),
    }
    with hostile(greeting(said, LOGIN if preamble else b"", replies)) as where:
        for more in ({}, {"rate": 2000, "depth": 1}, {"reconnect_every": 4}):
            result = load(where, engine.name, match=match, **changes | more)
            assert result.errors == {}
            assert result.messages == MESSAGES
            assert result.bytes_sent == result.bytes_received == 64 * MESSAGES
            assert result.first_reply.minimum > result.connect.minimum


def test_more_messages_than_said_are_extra(engine: Engine) -> None:
    with hostile(greeting(GREETING, b"", [])) as where:
        result = load(where, engine.name, greeting=1)
    assert result.errors == {"extra": 2}
    assert result.messages == MESSAGES


def test_fewer_messages_than_said_time_out(engine: Engine) -> None:
    with (
        hostile(greeting(GREETING, b"", [])) as where,
        pytest.raises(ConnectError, match=r"no answer within 0\.2 s"),
    ):
        load(where, engine.name, greeting=3, timeout=0.2)


def test_a_login_that_is_refused_is_one_line(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"LOGIN another ")
    with (
        hostile(greeting([], LOGIN, REPLIES)) as where,
        pytest.raises(ConnectError, match="the server closed the connection before its gre") as why,
    ):
        load(where, engine.name, preamble=str(tmp_path / "other"), preamble_replies=2)
    assert "\n" not in str(why.value)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (frame(b"220 ready")[:-1], "the stream ended 1 byte short of a frame's next part"),
        (b"\xff" * 64, "frame of 4294967299 bytes is over max_frame (1048576 bytes)"),
    ],
    ids=["truncated", "too large"],
)
def test_a_greeting_that_is_no_frame_is_not_taken_for_a_timeout(
    engine: Engine, said: bytes, why: str
) -> None:
    with hostile(lambda peer: peer.send(said)) as where, pytest.raises(ConnectError) as refused:
        load(where, engine.name, greeting=1)
    words = "the server sent other bytes than its greeting or its reply to the preamble: "
    assert str(refused.value).endswith(words + why)


def test_one_that_is_closed_before_it_was_greeted_is_counted(engine: Engine) -> None:
    count = iter(range(2))

    def serve(peer: Accepted) -> None:
        if next(count):
            greeting(GREETING, b"", [])(peer)

    with hostile(serve) as where:
        result = load(where, engine.name, greeting=2)
    assert result.errors == {"closed_early": 1}
    assert result.connect.total == 1
    assert result.messages == MESSAGES


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"greeting": -1}, "greeting: must be at least 0"),
        ({"greeting": 10**20}, "greeting: must be at most"),
        ({"preamble_replies": 1}, "preamble_replies: only for a preamble; give that too"),
        ({"preamble": "/no/such"}, "preamble: cannot read '/no/such': no such file"),
        ({"preamble": "{login}", "framing": "fixed:64"}, "preamble: message of 14 bytes; fixed:64"),
    ],
)
def test_what_cannot_be_sent_is_refused(login: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingError, match=why) as caught:
        load(
            "127.0.0.1:1",
            "auto",
            **changes | {k: login for k in changes if changes[k] == "{login}"},
        )
    assert "\n" not in str(caught.value)
