"""The control socket of whole servers: its file, and the process that answers there."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from epollo import Server
from epollo.control import steps
from epollo.server.inspection import ROWS, Inspection
from tests.control.support import Client, Controlled, controlled
from tests.engines import Engine
from tests.support import Peer, Recorder, epollo, frame, stop_process, until
from tests.workers.support import Supervised, ended, sockets_of, supervised

BROKEN = "raise RuntimeError('not today, {version}')"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def over(server: Supervised) -> Controlled:
    return Controlled(server.server, server.folder / "s")


# ---- The file


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_the_file_is_private_and_goes_with_the_server(
    tmp_path: Path, path: Path, engine: Engine, workers: list[str]
) -> None:
    with controlled(*engine.flags, *workers, folder=tmp_path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.ask("status")["stage"] == "serves"
        server.server.signal(signal.SIGTERM)
        assert server.server.wait() == 0
    assert not path.exists()


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_the_file_of_a_killed_server_is_replaced(
    tmp_path: Path, path: Path, workers: list[str]
) -> None:
    with controlled(*workers, folder=tmp_path) as server:
        server.server.signal(signal.SIGKILL)
        server.server.wait()
    assert path.is_socket()
    assert server.refused("status") == f"nobody listens at {path}: the server there has ended"
    with controlled(*workers, folder=tmp_path) as server:
        assert server.ask("status")["stage"] == "serves"


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_the_socket_of_another_server_is_an_error(
    tmp_path: Path, path: Path, workers: list[str]
) -> None:
    with controlled(folder=tmp_path) as server:
        run = epollo("serve", "--bind", "127.0.0.1:0", "--control", str(path), *workers)
        assert run.stderr.startswith(f"epollo: error: --control: cannot listen on unix:{path}: ")
        assert "in use" in run.stderr
        assert (run.stderr.count("\n"), run.returncode) == (1, 1)
        assert server.ask("status")["pid"] == server.server.process.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_the_file_belongs_to_the_configured_user(
    tmp_path: Path, path: Path, workers: list[str]
) -> None:
    """Who may then connect, as root may. The kernel says who has."""
    tmp_path.chmod(0o777)
    for folder in list(tmp_path.parents)[:-2]:
        folder.chmod(0o755)
    with controlled("--user", "nobody", *workers, folder=tmp_path) as server:
        status = path.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o600)
        assert server.ask("status")["stage"] == "serves"
        server.server.signal(signal.SIGTERM)
        assert server.server.wait() == 0
    assert not path.exists()


def test_a_server_in_a_thread_has_one_too(path: Path, recorder: Recorder) -> None:
    """Its clients are no connections of the server."""
    with Server(recorder, "127.0.0.1:0", control=path) as server, Client(path) as client:
        with Peer(server.addresses[0]) as peer:
            assert peer.ask(b"hello") == b"hello"
            assert client.ask("status")["totals"]["connections"]["open"] == 1
            assert len(server.connections) == 1
        assert server.counters.accepted == 1
    assert not path.exists()


def test_a_worker_has_no_copy_of_it(tmp_path: Path, path: Path) -> None:
    """Else a client that the supervisor has closed would see no end."""
    with supervised(tmp_path, "--control", str(path), workers=1) as server:
        [worker] = server.workers
        with Client(path) as client:
            assert client.ask("status")["workers"] == 1
            over(server).ctl("drain", "1")  # the new one is forked while a client is connected
            until(lambda: ended(worker))
            until(lambda: len(server.workers) == 1)  # the other one is reaped
            [worker] = server.workers
            copies = sockets_of(worker) & sockets_of(server.pid)
            unix = Path(f"/proc/{worker}/net/unix").read_text().splitlines()
            at_path = {f"socket:[{line.split()[6]}]" for line in unix if str(path) in line}
            assert len(at_path) >= 2  # the listener, and the end of the client
            assert not copies & at_path


# ---- Reload and handover


def test_a_reload_keeps_it(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        inode = path.stat().st_ino
        with Client(path) as client:
            pid = client.ask("status")["pid"]
            server.signal(signal.SIGHUP)
            server.logged("reload done")
            assert client.ask("status")["pid"] == pid == server.pid
        assert path.stat().st_ino == inode


def test_another_supervisor_takes_it_over(tmp_path: Path, path: Path) -> None:
    """At every moment somebody answers."""
    with supervised(tmp_path, "--control", str(path)) as server:
        assert over(server).ask("status")["pid"] == server.pid
        inode = path.stat().st_ino
        before = server.hand_over()
        assert over(server).ask("status")["pid"] == server.pid != before
        until(lambda: ended(before))
        assert path.stat().st_ino == inode
        assert len(over(server).ask("workers")["workers"]) == 2
        server.hand_over()
        assert over(server).ask("status")["pid"] == server.pid
    until(lambda: not path.exists())


def test_the_supervisor_before_is_named_while_it_drains(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        assert over(server).ask("status")["before"] is None
        held = over(server).ask("workers")["workers"][0]["pid"]
        stop_process(held)
        try:
            before = server.pid
            server.signal(signal.SIGUSR2)
            server.logged(" serves in place of this supervisor")
            assert over(server).ask("status")["before"] == before
            assert f"process {before}, still drains\n" in over(server).ctl("status")
        finally:
            os.kill(held, signal.SIGCONT)
        assert server.took_over() == before
        until(lambda: over(server).ask("status")["before"] is None)


def test_a_handover_that_fails_leaves_it(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        server.write(2, BROKEN)
        server.signal(signal.SIGUSR2)
        server.logged("no handover, this supervisor goes on: ")
        assert over(server).ask("status")["pid"] == server.pid
        server.write(3)
        over(server).ctl("reload")
        assert server.ask()[0] == "3"


def test_a_handover_to_another_path_moves_it(tmp_path: Path, path: Path) -> None:
    config = tmp_path / "epollo.toml"
    config.write_text(f'control = "{path}"')
    with supervised(tmp_path, "--config", str(config)) as server:
        assert over(server).ask("status")["pid"] == server.pid
        config.write_text(f'control = "{tmp_path / "t"}"')
        server.hand_over()
        assert Controlled(server.server, tmp_path / "t").ask("status")["pid"] == server.pid
        assert not path.exists()


# ---- What workers are told to do


def test_a_worker_is_drained_once_another_serves(
    tmp_path: Path, path: Path, engine: Engine
) -> None:
    with supervised(tmp_path, "--control", str(path), *engine.flags) as server:
        first = {row["worker"]: row["pid"] for row in over(server).ask("workers")["workers"]}
        told = over(server).ask("drain", "2")
        assert (told["worker"], told["draining"]) == (2, first[2])
        until(lambda: ended(first[2]))
        second = {row["worker"]: row["pid"] for row in over(server).ask("workers")["workers"]}
        assert second == {1: first[1], 2: told["serving"]}
        assert over(server).refused("drain", "3") == "no worker 3: there are 1, 2"


def test_a_worker_whose_successor_does_not_boot_goes_on(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        before = server.workers
        server.write(2, BROKEN)
        text = over(server).refused("drain", "1")
        assert text.startswith("worker 1 goes on: ")
        assert "not today, 2" in text
        assert server.workers == before


def test_a_reload_is_awaited_and_says_why_it_was_given_up(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        server.write(2)
        assert over(server).ctl("reload").startswith("reload done: 2 workers replaced in ")
        assert server.ask()[0] == "2"
        server.write(3, BROKEN)
        text = over(server).refused("reload")
        assert text.startswith("reload given up: ")
        assert "not today, 3" in text
        assert server.ask()[0] == "2"


def test_workers_are_added_and_removed(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path), workers=1) as server:
        assert over(server).refused("remove").startswith("there are from 1 to ")
        assert over(server).ctl("add") == "2 workers, 1 before\n"
        until(lambda: over(server).ask("status")["serving"] == 2)
        assert over(server).ctl("remove") == "1 worker, 2 before\n"
        until(lambda: len(over(server).ask("workers")["workers"]) == 1)


def test_the_server_is_stopped(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server, server.connect() as peer:
        peer.send(frame(b"unfinished")[:-1])  # so it drains until the grace
        assert over(server).ctl("drain", "--all") == "the server drains, and ends\n"
        until(lambda: over(server).ask("status")["draining"])
        assert over(server).refused("reload") == "reload: the server is stopping"
        assert over(server).refused("drain", "1").endswith("stopping")
        peer.send(frame(b"unfinished")[-1:])
        server.ended()


def test_a_server_of_one_process_is_stopped(tmp_path: Path) -> None:
    with controlled(folder=tmp_path) as server:
        server.ctl("drain", "--all")
        assert server.server.wait() == 0


def test_what_needs_workers_says_so(tmp_path: Path) -> None:
    with controlled(folder=tmp_path) as server:
        for command in (["reload"], ["add"], ["remove"]):
            assert server.refused(*command) == (
                f"{command[0]}: needs workers, and this server is one process; set workers"
            )
        assert server.refused("drain", "1").startswith("drain: needs workers")
        [row] = server.ask("workers")["workers"]
        assert (row["worker"], row["pid"]) == (None, server.server.process.pid)


def test_the_log_level_is_set_in_all_processes_and_in_later_ones(
    tmp_path: Path, path: Path
) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        assert over(server).ctl("log-level") == "epollo: info\n"
        assert over(server).ctl("log-level", "debug") == "epollo: debug\n"
        assert len(over(server).ask("log-level")["levels"]) == 3
        with server.connect():
            pass
        server.logged(" DEBUG closed ")
        over(server).ctl("drain", "1")
        assert over(server).ctl("log-level") == "epollo: debug\n"


def test_a_worker_that_hangs_is_told_and_delays_nothing_else(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path)) as server:
        stopped = over(server).ask("workers")["workers"][1]
        stop_process(stopped["pid"])
        try:
            with Client(path) as client:
                answer = client.ask("workers")
                assert answer["unanswered"] == [{"worker": 2, "pid": stopped["pid"]}]
                assert answer["workers"][0]["figures"]
                assert answer["workers"][1]["figures"] is None
                answer = client.ask("close", connection=f"{stopped['pid']}:1")
                assert answer == {"error": f"process {stopped['pid']} does not answer"}
        finally:
            os.kill(stopped["pid"], signal.SIGCONT)


def test_the_totals_of_workers_that_have_ended_are_kept(tmp_path: Path, path: Path) -> None:
    with supervised(tmp_path, "--control", str(path), workers=1) as server:
        with Peer(server.address) as peer:
            for _ in range(5):
                peer.send(frame(b"m"))
                peer.receive(1)
            until(lambda: over(server).ask("status")["totals"]["messages_in"] == 5)
        over(server).ask("drain", "1")
        until(lambda: over(server).ask("status")["draining"] == 0)
        totals = over(server).ask("status")["totals"]
        assert (totals["messages_in"], totals["connections"]["accepted"]) == (5, 1)


# ---- Clients that mean no good


def test_a_flood_of_lists_leaves_turns_as_they_are(
    path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten clients ask for the longest lists, again and again: a turn has the rows of one piece."""
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    described: list[int] = []
    describe = Inspection._describe
    count = 4 * ROWS
    with (
        engine.server(lambda message: message, control=str(path)) as server,
        ExitStack() as stack,
    ):
        loop: Any = server._loop

        def note(self: Inspection, connection: Any) -> Any:
            described.append(loop.turn_count)
            return describe(self, connection)

        monkeypatch.setattr(Inspection, "_describe", note)
        peers = [stack.enter_context(Peer(server.addresses[0])) for _ in range(count)]
        clients = [stack.enter_context(Client(path)) for _ in range(10)]
        for client in clients:
            client.send(b'{"command": "connections", "limit": 200}\n' * 3)
        for _ in range(20):
            assert peers[0].ask(b"m") == b"m"
        for client in clients:
            for _ in range(3):
                assert len(client.line()["connections"]) == count
    assert len(described) == 10 * 3 * count
    assert max(Counter(described).values()) == ROWS


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_messages_are_answered_next_to_hostile_clients(
    tmp_path: Path, path: Path, engine: Engine, workers: list[str]
) -> None:
    """Each within the deadline, and the commands of others afterwards."""
    with controlled(*engine.flags, *workers, folder=tmp_path) as server:
        _slowest_next_to_hostile_clients(server, path)
        until(lambda: server.ask("status")["stage"] == "serves")


@pytest.mark.truth
@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["one process", "workers"])
def test_hostile_clients_delay_no_message(
    tmp_path: Path, path: Path, engine: Engine, workers: list[str]
) -> None:
    with controlled(*engine.flags, *workers, folder=tmp_path) as server:
        slowest = _slowest_next_to_hostile_clients(server, path)
    print(f"\nnext to 12 hostile clients, the slowest reply took {slowest * 1e3:.1f} ms")
    assert slowest < 0.5  # what hung would take seconds


def _slowest_next_to_hostile_clients(server: Controlled, path: Path) -> float:
    """The seconds of the slowest reply in a second of them. Some clients hang, some send garbage,
    some ask without an end and never read."""
    clients = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    slowest = 0.0
    try:
        with Peer(server.server.address) as peer:
            for client in clients:
                client.connect(str(path))
                client.setblocking(False)
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                for number, client in enumerate(clients):
                    _annoy(client, number)
                began = time.monotonic()
                assert peer.ask(b"x") == b"x"
                slowest = max(slowest, time.monotonic() - began)
    finally:
        for client in clients:
            client.close()
    return slowest


def _annoy(client: socket.socket, number: int) -> None:
    data = (b"", b"\xff\x00garbage\n" * 100, b'{"command": "workers"}\n' * 100)[number % 3]
    try:
        client.send(data)
    except OSError:  # it is closed, or held back
        pass
