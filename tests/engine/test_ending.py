"""Ends of connections: what is dropped is dropped by the kernel too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from epollo import CloseReason, Connection, Server
from epollo.engine import lingering
from tests.conftest import Engine
from tests.support import Peer, Recorder, unacknowledged

MIB = 1 << 20


def overfill(connection: Connection, server: Server) -> None:
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


def close(connection: Connection, server: Server) -> None:
    """With what the kernel takes."""
    connection.send(bytes(MIB // 2))
    connection.close()


ENDS: dict[CloseReason | str, tuple[Callable[[Connection, Server], None], dict[str, Any]]] = {
    CloseReason.SLOW_CONSUMER: (overfill, {"max_unsent": "1MiB"}),
    CloseReason.WRITE_TIMEOUT: (fill, {"write_timeout": 0.1}),
    CloseReason.LOCAL: (abort, {}),
    CloseReason.SHUTDOWN: (stop, {}),
    "shutdown at once": (stop_twice, {}),
    "local, after lingering": (close, {}),
}


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="close() leaves to the kernel what it holds, for as long as the peer lives",
)
def test_the_kernel_holds_nothing_for_a_peer_that_was_dropped(
    engine: Engine, reason: CloseReason | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    handler = Recorder()
    bring_about, settings = ENDS[reason]
    with engine.server(handler, **settings) as server, Peer(server.addresses[0]) as peer:
        ends = peer.socket.getpeername(), peer.socket.getsockname()
        bring_about(handler.connection(), server)
        assert handler.end() == str(reason).split(maxsplit=1)[0].strip(",")
        held = unacknowledged(*ends)
    assert held == 0
