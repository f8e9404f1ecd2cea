"""Ends of connections: what is dropped is dropped by the kernel too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from epollo import CloseReason, Connection, ConnectionClosed, Server
from epollo.engine import stages
from tests.engines import Engine
from tests.support import (
    DEADLINE,
    Peer,
    Recorder,
    frame,
    many_descriptors,
    unacknowledged,
    until,
)

MIB = 1 << 20


def overfill(connection: Connection, server: Server) -> None:
    with suppress(ConnectionClosed):
        while not connection.closed:
            connection.send(bytes(MIB // 4))


def fill(connection: Connection, server: Server) -> None:
    """With more than the kernel's buffers take."""
    for _ in range(32):
        connection.send(bytes(MIB // 4))


def abort(connection: Connection, server: Server) -> None:
    fill(connection, server)
    connection.abort()


def stop(connection: Connection, server: Server) -> None:
    fill(connection, server)
    server.stop(0)


def stop_twice(connection: Connection, server: Server) -> None:
    fill(connection, server)
    server.stop()
    server.stop()


ENDS: dict[CloseReason | str, tuple[Callable[[Connection, Server], None], dict[str, Any]]] = {
    CloseReason.SLOW_CONSUMER: (overfill, {"max_unsent": "1MiB"}),
    CloseReason.WRITE_TIMEOUT: (fill, {"write_timeout": 0.1}),
    CloseReason.LOCAL: (abort, {}),
    CloseReason.SHUTDOWN: (stop, {}),
    "shutdown at once": (stop_twice, {}),
}


@pytest.mark.parametrize("reason", ENDS)
def test_the_kernel_holds_nothing_for_a_peer_that_was_dropped(
    engine: Engine, reason: CloseReason | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "LINGER_SECONDS", 0.05)
    handler = Recorder()
    bring_about, settings = ENDS[reason]
    with engine.server(handler, **settings) as server, Peer(server.addresses[0]) as peer:
        ends = peer.socket.getpeername(), peer.socket.getsockname()
        bring_about(handler.connection(), server)
        assert handler.end() == str(reason).split(maxsplit=1)[0].strip(",")
        held = unacknowledged(*ends)
    assert held == 0


@pytest.mark.parametrize("how", ["close", "stop"])
def test_a_peer_that_is_slow_to_read_gets_all_that_was_sent_before_the_close(
    engine: Engine, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "LINGER_SECONDS", 0.05)
    handler = Recorder()
    with engine.server(handler) as server, Peer(server.addresses[0]) as peer:
        connection = handler.connection()
        connection.send(bytes(MIB // 2))  # what the kernel takes
        if how == "close":
            connection.close()
        else:
            server.stop()
        assert handler.end() == ("local" if how == "close" else "shutdown")
        assert peer.receive_all() == frame(bytes(MIB // 2))


class Storm(Recorder):
    """Holds the loop with the message ``hold``, and again at the first end, until the test lets it
    go on. Knows how many ends came before the message ``good``."""

    def __init__(self, work: float) -> None:
        super().__init__()
        self.held, self.go_on = threading.Event(), threading.Event()
        self.begun, self.asked = threading.Event(), threading.Event()
        self.before = 0
        self._work = work

    def received(self, message: bytes, connection: Connection) -> Any:
        if message == b"hold":
            self.held.set()
            assert self.go_on.wait(DEADLINE)
        self.before = self.ends.qsize()
        return message

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        if not self.begun.is_set():
            self.begun.set()
            assert self.asked.wait(DEADLINE)
        time.sleep(self._work)  # what the handler has to do for it
        super().disconnected(connection, reason)


@pytest.mark.parametrize(
    ("count", "work", "most"),
    [(300, 0.001, 200), (2100, 0, 1024)],
    ids=["slow ends", "many ends"],
)
def test_resets_in_a_storm_keep_no_other_peer_waiting(
    engine: Engine, count: int, work: float, most: int
) -> None:
    if engine.poller != "epoll" and count > 500:
        pytest.skip("poll tells of all at once, select of no more than 1024")
    handler = Storm(work)
    with (
        many_descriptors(3 * count),
        engine.server(handler, slow_handler=0, graceful_timeout=0) as server,
        Peer(server.addresses[0]) as holding,
        Peer(server.addresses[0]) as good,
    ):
        storm = [Peer(server.addresses[0]) for _ in range(count)]
        assert good.ask(b"connected") == b"connected"
        until(lambda: handler.opened.qsize() == count + 2)
        holding.send(frame(b"hold"))
        assert handler.held.wait(DEADLINE)
        for peer in storm:
            peer.reset()
        if work:  # the other one asks when the ends of the storm have begun
            handler.go_on.set()
            assert handler.begun.wait(DEADLINE)
            good.send(frame(b"good"))
        else:  # or while all of the storm is still to be read
            good.send(frame(b"good"))
            handler.go_on.set()
        handler.asked.set()
        assert good.receive(8) == frame(b"good")
        before = handler.before
        until(lambda: handler.ends.qsize() == count)
    handler.opened.queue.clear()
    assert before <= most
