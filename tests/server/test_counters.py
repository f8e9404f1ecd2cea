"""Counters: each connection is counted once, and each snapshot is consistent."""

from __future__ import annotations

import socket

import pytest

from epollo import CloseReason, Counts, PollerFull, Refusal
from epollo.server.counters import Counters
from tests.engines import Engine
from tests.logs import Log
from tests.support import Peer, Recorder, frame


def test_a_new_server_has_counted_nothing_of_each_kind(engine: Engine) -> None:
    nothing = Counts(0, dict.fromkeys(Refusal, 0), dict.fromkeys(CloseReason, 0))
    assert engine.server(Recorder()).counters == nothing
    assert nothing.open == 0


def test_every_connection_is_counted_by_the_reason_of_its_close(engine: Engine) -> None:
    streams = {
        CloseReason.EOF: frame(b"whole"),
        CloseReason.TRUNCATED: frame(b"cut")[:-1],
        CloseReason.FRAME_TOO_LARGE: b"\xff" * 4,
    }
    handler = Recorder()
    with engine.server(handler) as server:
        for number, (reason, stream) in enumerate(streams.items(), 1):
            for _ in range(number):
                with Peer(server.addresses[0]) as peer:
                    peer.send(stream)
                    peer.end()
                    peer.receive_all()
                assert handler.end() is reason
        with Peer(server.addresses[0]) as peer:
            peer.ask(b"hello")
            assert server.counters.open == 1
            server.stop()
            assert peer.receive_all() == b""
    counts = server.counters
    assert {reason: count for reason, count in counts.closed.items() if count} == {
        CloseReason.EOF: 1,
        CloseReason.TRUNCATED: 2,
        CloseReason.FRAME_TOO_LARGE: 3,
        CloseReason.SHUTDOWN: 1,
    }
    assert (counts.accepted, counts.open, sum(counts.refused.values())) == (7, 0, 0)


def test_what_the_poller_cannot_watch_is_counted(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attach(sock: socket.socket, _: object) -> None:
        sock.close()
        raise PollerFull("no room")

    server = engine.server(Recorder())
    server.start()
    monkeypatch.setattr(server._started, "attach", attach)
    with server, Peer(server.addresses[0]) as peer:
        assert peer.receive_all() == b""
    counts = server.counters
    assert (counts.accepted, counts.refused[Refusal.POLLER], counts.open) == (1, 1, 0)
    assert log.take() == ["connection refused: no room"]


def test_a_snapshot_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that comes and goes while it is read is in it as a whole, or not at all."""
    counters = Counters()

    class Interrupted(dict[Refusal, int]):
        """In whose reading, the first three times, the loop's thread takes its turn."""

        times = 3

        def copy(self) -> dict[Refusal, int]:
            if self.times:
                self.times -= 1
                counters.accepted += 1
                counters.count_closed(CloseReason.EOF)
            return dict(self)

    monkeypatch.setattr(counters, "_refused", Interrupted(counters.snapshot().refused))
    counts = counters.snapshot()
    assert (counts.accepted, counts.closed[CloseReason.EOF], counts.open) == (3, 3, 0)
