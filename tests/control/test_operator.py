"""A day of an operator: a chat on two workers, and a member that does not read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import address
from tests.control.support import Controlled, controlled
from tests.documents import ROOT
from tests.engines import Engine
from tests.support import Peer, many_descriptors, until

LINE = b"x" * 390 + b"\n"
SERVE = ("examples.chat:Chat", "--app-dir", str(ROOT), "--framing", "line", "--max-frame", "512")


class Members:
    """Those of two rooms: in the loud one are the first, who speaks, and the slow one, who does not
    read: the kernel takes megabytes before anything is unsent, which would be too much for
    hundreds. A thread reads what all others are sent."""

    def __init__(self, to: str, count: int, stack: ExitStack) -> None:
        self._peers = [stack.enter_context(Peer(to)) for _ in range(count)]
        self.slow = stack.enter_context(Peer(to, receive_buffer=4096))
        for peer in (*self._peers, self.slow):
            loud = peer in (self.first, self.slow)
            peer.send(b"/join loud\n" if loud else b"/join room\n")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)

    @property
    def first(self) -> Peer:
        return self._peers[0]

    @property
    def slow_name(self) -> str:
        return str(address.of(self.slow.socket.getsockname()))

    def speak(self, lines: int = 50) -> None:
        """The first member says something, again and again."""
        self.first.send(LINE * lines)

    def _read(self) -> None:
        import selectors

        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.socket, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    if not os.read(key.fd, 1 << 16):
                        selector.unregister(key.fd)

    def __enter__(self) -> Members:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def open_at(server: Controlled) -> int | None:
    """Open connections; None if a worker is too busy to tell."""
    answer = server.ask_busy("status")
    return answer and int(answer["totals"]["connections"]["open"])


@contextmanager
def chat(folder: Path, *flags: str, count: int) -> Iterator[tuple[Controlled, Members]]:
    with (
        controlled(*SERVE, "--workers", "2", "--drain-quiet", "0", *flags, folder=folder) as server,
        ExitStack() as stack,
        Members(server.server.address, count, stack) as members,
    ):
        until(lambda: open_at(server) == count + 1)
        yield server, members


def test_a_slow_member_is_found_and_closed(tmp_path: Path, engine: Engine) -> None:
    _find_and_close(tmp_path, *engine.flags, count=12)


@pytest.mark.truth
def test_a_slow_member_is_found_among_five_hundred(tmp_path: Path) -> None:
    _find_and_close(tmp_path, count=499)


def _find_and_close(tmp_path: Path, *flags: str, count: int) -> None:
    with (
        many_descriptors(count + 100),
        chat(tmp_path, *flags, count=count) as (
            server,
            members,
        ),
    ):
        largest: list[dict[str, Any]] = []

        def found() -> bool:
            members.speak()
            answer = server.ask_busy("connections", "--limit", "1")
            largest[:] = answer["connections"] if answer else []
            return any(each["peer"] == members.slow_name for each in largest) and (
                largest[0]["unsent"] > 100_000
            )

        def all_is_sent() -> bool:
            """To those that read: they are not among the largest any more."""
            answer = server.ask_busy("connections", "--limit", "2")
            return bool(answer) and not answer["connections"][1]["unsent"]

        until(found)
        until(all_is_sent)
        [row] = server.ask("connections", "--limit", "1")["connections"]
        assert row["state"] == "open"
        assert "high_water" in row["paused"]
        assert f"{row['id']} " in server.ctl("connections", "--limit", "1")
        assert row["id"] in server.ctl("close", row["id"])  # it waits for what is unsent
        assert server.ctl("close", row["id"], "--abort") == f"{row['id']} is closed\n"

        [gone] = server.ask("closed", "--reason", "local")["closed"]
        assert (gone["id"], gone["peer"]) == (row["id"], members.slow_name)
        assert gone["unsent"] > 0
        assert server.refused("close", row["id"]).startswith(f"no connection {row['id']}: ")
        until(lambda: open_at(server) == count)


def test_it_is_told_why_others_were_closed(tmp_path: Path, engine: Engine) -> None:
    with chat(tmp_path, *engine.flags, "--max-unsent", "64KiB", count=4) as (server, members):
        with Peer(server.server.address) as rude:
            rude.send(b"y" * 2000)  # a line without an end
            rude.receive_until_gone()
        with Peer(server.server.address) as polite:
            polite.send(b"/join room\n")
            polite.end()
            polite.receive_all()

        def slow_is_closed() -> bool:
            members.speak()
            return bool(server.ask("closed", "--reason", "slow_consumer")["closed"])

        until(slow_is_closed)
        until(lambda: server.ask("closed", "--reason", "eof")["closed"])
        reasons = {row["reason"] for row in server.ask("closed")["closed"]}
        assert reasons >= {"slow_consumer", "eof", "frame_too_large"}
        [slow] = server.ask("closed", "--reason", "slow_consumer", "--peer", members.slow_name)[
            "closed"
        ]
        assert slow["unsent"] >= 64 << 10
        assert "slow_consumer" in server.ctl("status")
        assert server.ctl("closed", "--peer", "192.0.2.1") == "none\n"


def test_a_worker_is_drained_and_its_members_come_back(tmp_path: Path) -> None:
    with chat(tmp_path, count=6) as (server, _):
        pids = {row["worker"]: row["pid"] for row in server.ask("workers")["workers"]}
        told = server.ask("drain", "1")
        assert told["draining"] == pids[1]
        until(lambda: len(server.ask("workers")["workers"]) == 2)
        assert {row["pid"] for row in server.ask("workers")["workers"]} == {
            told["serving"],
            pids[2],
        }
        assert {row["worker"] for row in server.ask("connections")["connections"]} <= {2}
        with Peer(server.server.address) as back:
            back.send(b"/join room\n")
            until(lambda: back.receive(1))
