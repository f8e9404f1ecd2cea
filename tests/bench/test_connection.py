"""One connection of a run: what is sent before the first message, and which reply answers which
message."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from epollo import Connection, Server
from tests.bench.hostile import SIZE, Accepted, hostile
from tests.bench.terminal import new_screen, run_here
from tests.support import frame

LOGIN = b"LOGIN"


def status_of(monkeypatch: pytest.MonkeyPatch, where: str, *flags: str) -> int:
    """The exit status of ``epollo bench`` against that server, after a few messages."""
    load = ["-c", "1", "-n", "9", "--warmup", "0", "--timeout", "5s"]
    with new_screen() as screen:
        return run_here(screen, monkeypatch, "bench", where, *load, *flags)[0]


class Overtaking:
    """Holds each message with an odd number until it has answered the next one."""

    async def received(self, message: bytes, connection: Connection) -> bytes:
        if connection.state is None:
            connection.state = asyncio.Semaphore(0)
        if int(message) % 2:
            await connection.state.acquire()
        elif int(message):
            connection.state.release()
        return message


@pytest.mark.parametrize("expect", ["echo", "any", "tests.bench.reply_checks:same"])
def test_replies_out_of_order_are_matched_by_their_id(
    expect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ["--framing", "line", "--template", "{number}", "--depth", "2", "--expect", expect]
    served: dict[str, Any] = {
        "framing": "line",
        "in_flight": 2,
        "ordered": False,
        "loop": "asyncio",
    }
    with Server(Overtaking(), "127.0.0.1:0", **served) as server:
        matched = ["--match", "tests.bench.reply_checks:number"]
        assert status_of(monkeypatch, server.addresses[0], *load, *matched) == 0


class Login:
    """Serves connections that log in first, with plain bytes or with a frame; closes any other."""

    def __init__(self) -> None:
        self.refused: list[bytes] = []

    def __call__(self, peer: Accepted) -> None:
        begin = peer.receive(len(frame(LOGIN)))
        if begin.startswith(LOGIN):  # the header of the first message is behind it
            peer.send(begin[len(LOGIN) :] + peer.receive(SIZE))
        elif begin != frame(LOGIN):
            self.refused.append(begin)
            return
        echo(peer)


def echo(peer: Accepted) -> None:
    while request := peer.next_frame():
        peer.send(request)


@pytest.mark.parametrize("again", [[], ["--reconnect-every", "3"]], ids=["kept", "replaced"])
def test_each_connection_logs_in_before_its_first_message(
    again: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "login").write_bytes(LOGIN)
    serve = Login()
    with hostile(serve) as where:
        flags = ["--preamble", str(tmp_path / "login"), *again]
        assert status_of(monkeypatch, where, *flags) == 0
    assert serve.refused == []


def test_a_server_that_greets_first_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet(peer: Accepted) -> None:
        peer.send(frame(b"220 ready"))
        echo(peer)

    with hostile(greet) as where:
        assert status_of(monkeypatch, where, "--greeting", "1") == 0
