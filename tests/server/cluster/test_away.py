"""A server whose broker is not there: its own members have every message."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from epollo import Server
from epollo.errors import SettingError
from tests.engines import Engine
from tests.logs import Log
from tests.rooms import enter, room
from tests.support import Peer, frame, serving, unused

pytest.importorskip("nats")

WARNED = "cannot reach the broker nats://{}: "


def test_delivery_here_goes_on_without_the_broker(engine: Engine, log: Log) -> None:
    with unused() as away:
        handler, server = room(engine, broker=f"nats://{away}", max_unsent="4KiB")
        with server, enter(handler, server)[0] as ann, enter(handler, server)[0] as bob:
            for number in range(100):
                server.publish("all", b"%03d" % number)
            for peer in (ann, bob):
                assert [peer.message() for _ in range(100)] == [b"%03d" % n for n in range(100)]
            assert ann.ask(b"hello") == b"said"
            assert bob.message() == b"hello"
            counts = server.counters.broker
            assert (counts.connections, counts.sent, counts.missed) == (0, 0, 0)
            assert 0 < counts.waiting <= 4096
            assert counts.dropped == 101 - counts.waiting // (25 + 3 + 100)
        lines = log.take()
        assert lines[0].startswith(WARNED.format(away))
        assert all("were dropped: over max_unsent, 4 KiB, would wait" in line for line in lines[1:])


def test_a_server_may_be_started_again(engine: Engine, log: Log) -> None:
    with unused() as away:
        handler, server = room(engine, broker=f"nats://{away}")
        for _ in range(2):
            with server, enter(handler, server)[0] as ann:
                server.publish("all", b"here")
                assert ann.message() == b"here"
            assert log.take()[0].startswith(WARNED.format(away))


def test_with_workers_the_other_workers_have_them_too(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "class Chat:\n"
        "    def started(self, server): self.server = server\n"
        "    def connected(self, connection):\n"
        "        connection.join('all')\n"
        "        connection.send(b'%d' % os.getpid())\n"
        "    def received(self, message): self.server.publish('all', message)\n"
    )
    with (
        unused() as away,
        serving("app:Chat", "-w", "2", "--broker", f"nats://{away}", cwd=str(tmp_path)) as server,
    ):
        peers: dict[bytes, Peer] = {}
        others: list[Peer] = []
        while len(peers) < 2:
            peer = Peer(server.address)
            worker = peer.message()
            if worker in peers:
                others.append(peer)
            else:
                peers[worker] = peer
        one, other = peers.values()
        one.send(frame(b"to all of us"))
        assert one.message() == other.message() == b"to all of us"
        for each in (one, other, *others):
            each.close()


def test_it_does_not_wait_for_long_at_its_start(engine: Engine, log: Log) -> None:
    with unused() as away:
        began = time.monotonic()
        _, server = room(engine, broker=f"nats://{away},nats://{away}")
        with server:
            assert time.monotonic() < began + 20
    log.take()


def test_an_object_and_a_url_are_one_too_many() -> None:
    from epollo import LocalBroker, Settings

    with pytest.raises(SettingError, match="given as an object and as a URL"):
        Server(broker=LocalBroker(), settings=Settings(broker="nats://127.0.0.1:4222"))
