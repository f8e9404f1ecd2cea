"""SIGTTIN and SIGTTOU: one worker more, or one fewer, and no connection lost."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.engines import Engine
from tests.support import frame, until
from tests.workers.support import GREETING, Storm, Supervised, supervised, write


def _more(server: Supervised, count: int, times: int = 1) -> None:
    server.signal(signal.SIGTTIN)
    server.logged(f"one worker more: {count}", times)


def _fewer(server: Supervised, count: int, times: int = 1) -> None:
    """Signals of one number that come together are one (signal(7)): so wait for each."""
    server.signal(signal.SIGTTOU)
    server.logged(f"one worker fewer: {count}", times)


def test_one_worker_more_and_one_fewer(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        for count in (2, 3):
            _more(server, count)
            while len({server.ask()[1] for _ in range(60)}) < count:
                pass
        for count in (2, 1):
            _fewer(server, count)
            while len(server.workers) > count:
                pass
        assert {server.ask()[1] for _ in range(20)} == server.workers


def test_the_last_worker_stays(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        before = server.workers
        server.signal(signal.SIGTTOU)
        server.logged("there are from 1 to 1024 workers; still 1")
        assert (server.workers, server.ask()[1]) == (before, min(before))


def test_no_connection_is_lost_when_workers_come_and_go(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path, 1, GREETING)
    with supervised(tmp_path, *engine.flags, workers=4) as server, Storm(server) as storm:
        for rounds in (1, 2):
            for count in (3, 2, 1):
                _fewer(server, count, rounds)
            for count in (2, 3, 4):
                _more(server, count, rounds)
        before = storm.count
        until(lambda: storm.count > before + 100)
    assert storm.errors == []


def test_a_worker_accepts_its_queue_before_it_goes(engine: Engine, tmp_path: Path) -> None:
    """It is busy, so that connections wait in its queue: more than a turn of its loop accepts."""
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "class Busy:\n"
        "    def connected(self, connection):\n"
        "        connection.send(str(os.getpid()).encode())\n"
        "    def received(self, message):\n"
        "        time.sleep(2)\n"
        "handle = Busy()\n"
    )
    with supervised(tmp_path, *engine.flags) as server, ExitStack() as peers:
        last = max(server.workers)
        while True:
            peer = peers.enter_context(server.connect())
            if int(peer.message()) == last:
                break
        peer.send(frame(b"be busy"))
        queued = [peers.enter_context(server.connect()) for _ in range(400)]
        _fewer(server, 1)
        greetings = Counter(int(peer.message()) for peer in queued)
        assert greetings[last] > 64
        until(lambda: len(server.workers) == 1)


def test_workers_come_and_go_on_a_shared_socket(tmp_path: Path) -> None:
    write(tmp_path, 1, GREETING)
    with (
        supervised(tmp_path, workers=3, bind=f"unix:{tmp_path}/socket") as server,
        Storm(server) as storm,
    ):
        _fewer(server, 2)
        _fewer(server, 1)
        until(lambda: len(server.workers) == 1)
        _more(server, 2)
        server.logged(" serves", 4)
    assert storm.errors == []


def test_connections_do_not_wait_for_the_boot_of_one_more(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        [before] = server.workers
        (tmp_path / "app.py").write_text(
            "import os, time\n"
            "open('booting', 'w').close()\n"
            "while os.path.exists('wait'): time.sleep(0.01)\n"
            "handle = lambda m: f'2 {os.getpid()}'.encode()\n"
        )
        (tmp_path / "wait").touch()
        _more(server, 2)
        until((tmp_path / "booting").exists)
        assert {server.ask()[1] for _ in range(50)} == {before}
        (tmp_path / "wait").unlink()
        until(lambda: {server.ask()[0] for _ in range(20)} == {"1", "2"})


def test_a_worker_that_was_to_be_replaced_is_given_up(tmp_path: Path) -> None:
    """Its replacement boots; then that one drains, and the slot is gone."""
    with supervised(tmp_path, workers=2) as server:
        (tmp_path / "app.py").write_text(
            "import os, time\n"
            "open(f'booting-{time.time()}', 'w').close()\n"
            "while os.path.exists('wait'): time.sleep(0.01)\n"
            "handle = lambda m: f'2 {os.getpid()}'.encode()\n"
        )
        server.signal(signal.SIGHUP)
        server.logged(" serves", 3)
        (tmp_path / "wait").touch()
        until(lambda: len(list(tmp_path.glob("booting-*"))) == 2 or server.lines("reload done"))
        server.signal(signal.SIGTTOU)
        until(lambda: server.server.sleeps())
        (tmp_path / "wait").unlink()
        server.logged("one worker fewer: 1")
        until(lambda: len(server.workers) == 1)
        assert {server.ask()[1] for _ in range(30)} == server.workers
        _more(server, 2)
        until(lambda: {server.ask()[1] for _ in range(30)} == server.workers)


def test_changes_during_a_reload(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=3) as server:
        server.write(2)
        server.signal(signal.SIGHUP)
        _fewer(server, 2)
        _more(server, 3)
        _more(server, 4)
        server.logged("reload done")
        until(lambda: {server.ask()[0] for _ in range(60)} == {"2"})
        until(lambda: len(server.workers) == 4)
