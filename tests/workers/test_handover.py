"""SIGUSR2: another supervisor serves on the same sockets before the old one goes."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.support import Peer, frame, python, until
from tests.workers.support import (
    GREETING,
    Storm,
    Supervised,
    answer,
    children_of,
    ended,
    sockets_of,
    supervised,
    write,
)

# Each worker says that it boots, and waits.
WAITING = """
import os, time
with open("booting", "a") as file:
    file.write(".")
while os.path.exists("wait"):
    time.sleep(0.01)
version = {version}
handle = lambda message: f"{{version}} {{os.getpid()}}".encode()
"""


def _given_up(server: Supervised) -> str:
    return server.logged("no handover, this supervisor goes on: ")


def _channels(pid: int) -> set[str]:
    """All sockets of its machine that are of this kind (SOCK_SEQPACKET)."""
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    return {f"socket:[{line.split()[6]}]" for line in lines if line.split()[4] == "0005"}


def _hand_over_to_what_waits(server: Supervised, version: int | str) -> None:
    """Begin a handover to code that boots once the file ``wait`` is removed."""
    server.write(version, WAITING)
    (server.folder / "wait").touch()
    server.signal(signal.SIGUSR2)
    booting = server.folder / "booting"
    until(lambda: booting.exists() and len(booting.read_text()) == 2)  # its workers


def test_another_supervisor_takes_the_place(engine: Engine, tmp_path: Path) -> None:
    with supervised(tmp_path, *engine.flags, workers=3) as server:
        workers = server.workers
        server.write("'new'")
        with server.connect() as peer:
            assert answer(peer)[0] == "1"
            before = server.hand_over()
            assert before == server.server.process.pid != server.pid
            assert server.ready_line == server.server.ready_line
            assert peer.receive_until_gone() == b""  # silent: it was drained
        assert server.server.wait() == 0
        assert {server.ask()[0] for _ in range(60)} == {"new"}
        assert all(map(ended, workers))
        assert len(server.workers) == 3
        assert not [line for line in server.server.log if "ERROR" in line or "WARNING" in line]


def test_nobody_is_refused_or_lost(engine: Engine, tmp_path: Path) -> None:
    """A storm of connections, over handovers; one of them to code that does not import."""
    write(tmp_path, 1, GREETING)
    with supervised(tmp_path, *engine.flags) as server, Storm(server) as storm:
        for version in range(2, 6):
            server.write("1 / 0" if version == 4 else version, GREETING)
            if version == 4:
                server.signal(signal.SIGUSR2)
                _given_up(server)
                until(lambda: len(children_of(server.pid)) == 2)
            else:
                before = server.hand_over()
                until(lambda pid=before: ended(pid))  # type: ignore[misc]
        until(lambda: "5" in storm.versions)
    assert storm.errors == []
    assert "4" not in storm.versions


@pytest.mark.parametrize("kind", ["exact", "unix", "fd"])
def test_nobody_is_lost_if_the_supervisors_accept(
    engine: Engine, tmp_path: Path, kind: str
) -> None:
    """Both accept from the same socket for a while. What one has accepted, its workers serve."""
    write(tmp_path, 1, GREETING)
    flags = engine.flags
    options: dict[str, Any] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        if kind == "exact":
            flags = ["--balance", "exact", *flags]
        elif kind == "unix":
            options = {"bind": f"unix:{tmp_path}/socket"}
        else:
            options = {"bind": f"fd://{listener.fileno()}", "pass_fds": [listener.fileno()]}
        with supervised(tmp_path, *flags, **options) as server, Storm(server) as storm:
            for version in range(2, 6):
                server.write("1 / 0" if version == 4 else version, GREETING)
                if version == 4:
                    server.signal(signal.SIGUSR2)
                    _given_up(server)
                    until(lambda: len(children_of(server.pid)) == 2)
                else:
                    before = server.hand_over()
                    until(lambda pid=before: ended(pid))  # type: ignore[misc]
            until(lambda: "5" in storm.versions)
    assert storm.errors == []
    assert "4" not in storm.versions


def test_connections_of_the_old_workers_get_their_replies(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio\n"
        "async def handle(message):\n"
        "    print('begun', flush=True)\n"
        "    await asyncio.sleep(0.5)\n"
        "    return message\n"
    )
    with supervised(tmp_path) as server, server.connect() as peer:
        peer.send(frame(b"before"))
        assert server.server.line() == "begun\n"
        server.hand_over()
        assert peer.message() == b"before"


def test_the_new_one_hands_over_in_its_turn(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        for version in (2, 3):
            server.write(version)
            server.hand_over()
            assert server.ask()[0] == str(version)


def test_a_handover_waits_for_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio, os\n"
        "async def handle(message):\n"
        "    if message == b'wait':\n"
        "        print('begun', flush=True)\n"
        "        while os.path.exists('wait'): await asyncio.sleep(0.01)\n"
        "    return f'1 {os.getpid()}'.encode()\n"
    )
    (tmp_path / "wait").touch()
    with supervised(tmp_path, "--graceful-timeout", "1h") as server, server.connect() as peer:
        peer.send(frame(b"wait"))
        assert server.server.line() == "begun\n"
        server.hand_over()
        server.signal(signal.SIGUSR2)
        server.signal(signal.SIGTTIN)
        until(lambda: not server.lines("is to replace")[1:] and server.server.sleeps())
        assert len(server.workers) == 2
        (tmp_path / "wait").unlink()
        assert peer.message()[:2] == b"1 "
        server.took_over()
        server.logged("one worker more: 3")


@pytest.mark.parametrize("console_script", [True, False], ids=["script", "program"])
def test_the_same_command_is_run_again(tmp_path: Path, console_script: bool) -> None:
    """Its arguments, its directory and its environment."""
    write(tmp_path, "__import__('os').environ['COLOUR'] + __import__('os').getcwd()")
    if console_script:
        script = str(Path(sys.executable).with_name("epollo"))
        arguments = [script, "serve", "app:handle", "-w", "1", "--bind", "127.0.0.1:0"]
    else:
        code = (
            "import epollo, logging\n"
            "logging.basicConfig(level='INFO', format=' %(levelname)s %(message)s')\n"
            "epollo.serve('app:handle', '127.0.0.1:0', workers=1)"
        )
        arguments = ["-X", "utf8", "-c", code]
    with python(*arguments, env={"COLOUR": "blue"}, cwd=tmp_path) as process:
        server = Supervised(process, tmp_path)
        server.hand_over()
        try:
            assert server.ask()[0] == f"blue{tmp_path}"
            assert process.wait() == 0
        finally:
            server.signal(signal.SIGTERM)
        until(lambda: ended(server.pid))


def test_a_directory_that_is_a_link_is_entered_anew(tmp_path: Path) -> None:
    """A release is a directory, and a link leads to the current one."""
    for version in (1, 2):
        (tmp_path / f"release{version}").mkdir()
        write(tmp_path / f"release{version}", version)
    current = tmp_path / "current"
    current.symlink_to("release1")
    with supervised(current, env={"PWD": str(current)}) as server:
        assert server.ask()[0] == "1"
        current.unlink()
        current.symlink_to("release2")
        server.hand_over()
        assert server.ask()[0] == "2"


# ---- It does not boot


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("__import__('os')._exit(3)", "ended with status 3, before it served"),
    ],
)
def test_code_that_does_not_boot_changes_nothing(tmp_path: Path, code: str, why: str) -> None:
    with supervised(tmp_path) as server:
        before = server.workers
        server.write(code)
        server.signal(signal.SIGUSR2)
        assert why in _given_up(server)
        until(lambda: server.workers == before)
        assert {server.ask() for _ in range(60)} == {("1", pid) for pid in before}
        server.write(2)
        server.hand_over()
        assert server.ask()[0] == "2"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("max_fram = 1", "epollo.toml:1: no setting 'max_fram'"),
        ('workers = 2\nbind = "192.0.2.1:80"', "cannot listen on 192.0.2.1:80"),
        ("", "workers: a supervisor can only hand over to another"),
        ('workers = 2\nbind = "127.0.0.1:0"\nframing = "u33"', "framing"),
        ("(", "epollo.toml"),
        ('workers = 2\nbind = "127.0.0.1:0"\nuser = "nobody-here"', "no user 'nobody-here' here"),
    ],
)
def test_settings_that_are_wrong_change_nothing(tmp_path: Path, settings: str, why: str) -> None:
    file = tmp_path / "epollo.toml"
    file.write_text('bind = "127.0.0.1:0"\nworkers = 2\n')
    write(tmp_path, 1)
    with python(
        "-m", "epollo", "serve", "app:handle", "--config", "epollo.toml", cwd=tmp_path
    ) as process:
        server = Supervised(process, tmp_path)
        before = server.workers
        file.write_text(settings)
        server.signal(signal.SIGUSR2)
        assert why in _given_up(server)
        until(lambda: server.workers == before)
        assert {server.ask() for _ in range(60)} == {("1", pid) for pid in before}
        server.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_python_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """An upgrade has moved it."""
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    code = (
        f"import sys; sys.executable = {str(link)!r}\n"
        "import epollo; epollo.serve('app:handle', '127.0.0.1:0', workers=1)"
    )
    write(tmp_path, 1)
    with python("-c", code, cwd=tmp_path) as process:
        server = Supervised(process, tmp_path)
        link.unlink()
        server.signal(signal.SIGUSR2)
        assert f"cannot run {link} in {tmp_path}: no such file" in _given_up(server)
        assert server.ask()[0] == "1"
        server.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_the_end_of_a_new_supervisor_that_boots_changes_nothing(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        before = server.workers
        _hand_over_to_what_waits(server, 2)
        [new] = server.workers - before
        booting = children_of(new)
        os.kill(new, signal.SIGKILL)
        assert "was killed by SIGKILL, before it served" in _given_up(server)
        assert {server.ask()[0] for _ in range(20)} == {"1"}
        (tmp_path / "wait").unlink()
        until(lambda: all(map(ended, booting)))


def test_signals_during_a_handover_that_fails_are_acted_on_after_it(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        _hand_over_to_what_waits(server, "1 / 0")
        for number in (signal.SIGHUP, signal.SIGTTIN):
            server.signal(number)
        until(server.server.sleeps)
        assert not server.lines("reload")
        (tmp_path / "wait").unlink()
        _given_up(server)
        server.write(3)
        server.logged("one worker more: 3")
        server.logged("reload")


def test_a_handover_that_lacks_descriptors_leaves_none_behind(tmp_path: Path) -> None:
    """One is left for a copy of the socket of the metrics, and none for that of the control."""
    flags = ("--metrics", "127.0.0.1:0", "--control", "control")
    with supervised(tmp_path, *flags) as server:
        until(server.server.sleeps)
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        before = _descriptors(server.pid)
        free = [number for number in range(max(before) + 5) if number not in before]
        full = (free[3], limits[1])  # two for the channel, and one more
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, full)
        server.signal(signal.SIGUSR2)
        assert "cannot start a process: too many open files" in _given_up(server)
        assert _descriptors(server.pid) == before
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)


def _descriptors(pid: int) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}


def test_a_stop_during_a_handover_ends_both(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        before = server.workers
        _hand_over_to_what_waits(server, 2)
        [new] = server.workers - before
        booting = children_of(new)
        server.signal(signal.SIGTERM)
        assert server.server.wait() == 0
        assert ended(new)
        assert not server.lines("this supervisor goes on")
        (tmp_path / "wait").unlink()
        until(lambda: all(map(ended, booting)))


# A supervisor that comes to serve when it is told to stop.
LATE = """#!{python}
import json, os, signal, socket, sys
told = json.loads(os.environ["_EPOLLO_HANDOVER"])
ready = dict(kind="ready", taken=[len(each["fds"]) for each in told["listeners"]])

def claim(*_):
    socket.socket(fileno=told["channel"]).send(b"." + json.dumps(ready).encode())
    sys.exit()

signal.signal(signal.SIGTERM, claim)
open("waits", "w").close()
while True:
    signal.pause()
"""


def test_a_new_one_that_comes_to_serve_after_the_stop_has_begun_changes_nothing(
    tmp_path: Path,
) -> None:
    late = tmp_path / "late"
    late.write_text(LATE.format(python=sys.executable))
    late.chmod(0o755)
    code = (
        f"import sys; sys.executable = {str(late)!r}\n"
        "import epollo\n"
        "epollo.serve('app:handle', '127.0.0.1:0', workers=1, drain_delay='1h', log_level='info')"
    )
    write(tmp_path, 1)
    with python("-c", code, cwd=tmp_path) as process:
        server = Supervised(process, tmp_path)
        before = server.workers
        server.signal(signal.SIGUSR2)
        until((tmp_path / "waits").exists)
        server.signal(signal.SIGTERM)
        until(lambda: server.workers == before)
        until(process.sleeps)
        assert server.ask()[0] == "1"  # the delay goes on
        server.signal(signal.SIGTERM)
        assert process.wait() == 0


# ---- Other settings


def _configured(folder: Path, *lines: str) -> None:
    (folder / "epollo.toml").write_text("\n".join(lines))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_new_one_may_have_more_or_fewer_workers(tmp_path: Path, count: int) -> None:
    _configured(tmp_path, 'bind = "127.0.0.1:0"', "workers = 3")
    write(tmp_path, 1, GREETING)
    with python(
        "-m", "epollo", "serve", "app:handle", "--config", "epollo.toml", cwd=tmp_path
    ) as process:
        server = Supervised(process, tmp_path)
        try:
            with Storm(server) as storm:
                _configured(tmp_path, 'bind = "127.0.0.1:0"', f"workers = {count}")
                server.write(2, GREETING)
                server.hand_over()
                assert process.wait() == 0
                until(lambda: storm.versions["2"] > 200)
                for number, text in ((signal.SIGTTIN, "more"), (signal.SIGTTOU, "fewer")):
                    server.signal(number)
                    server.logged(f"one worker {text}")
                server.signal(signal.SIGHUP)
                server.logged("reload done")
            assert storm.errors == []
            until(lambda: len(server.workers) == count)
        finally:
            server.signal(signal.SIGTERM)
        until(lambda: ended(server.pid))


@pytest.mark.parametrize("balances", [("slot", "exact", "slot"), ("exact", "slot", "exact")])
def test_the_new_one_may_have_the_other_balance(tmp_path: Path, balances: tuple[str, ...]) -> None:
    """Nobody is lost; nor if the new one does not come to serve."""

    def configure(balance: str) -> None:
        _configured(tmp_path, 'bind = "127.0.0.1:0"', "workers = 3", f'balance = "{balance}"')

    configure(balances[0])
    write(tmp_path, 1, GREETING)
    with python(
        "-m", "epollo", "serve", "app:handle", "--config", "epollo.toml", cwd=tmp_path
    ) as process:
        server = Supervised(process, tmp_path)
        try:
            with Storm(server) as storm:
                for version, balance in enumerate(balances[1:], 2):
                    configure(balance)
                    server.write("1 / 0", GREETING)
                    server.signal(signal.SIGUSR2)
                    server.logged("no handover, this supervisor goes on: ", version - 1)
                    until(lambda: len(server.workers) == 3)
                    server.write(version, GREETING)
                    before = server.hand_over()
                    until(lambda pid=before: ended(pid))  # type: ignore[misc]
                    served = storm.versions[str(version)] + 200
                    until(
                        lambda version=version, served=served: (  # type: ignore[misc]
                            storm.versions[str(version)] > served
                        )
                    )
                    for number, text in ((signal.SIGTTIN, "more"), (signal.SIGTTOU, "fewer")):
                        server.signal(number)
                        server.logged(f"one worker {text}", version - 1)
                    server.signal(signal.SIGHUP)
                    server.logged("reload done", version - 1)
            assert storm.errors == []
            until(lambda: len(server.workers) == 3)
        finally:
            server.signal(signal.SIGTERM)
        until(lambda: ended(server.pid))


def test_addresses_come_and_go(tmp_path: Path) -> None:
    """Those that stay have the same sockets, those that go are closed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept, gone, new = f"127.0.0.1:{port}", f"unix:{tmp_path}/gone", f"unix:{tmp_path}/new"
    _configured(tmp_path, f'bind = ["{gone}", "{kept}", "127.0.0.1:0"]', "workers = 2")
    write(tmp_path, 1)
    with python(
        "-m", "epollo", "serve", "app:handle", "--config", "epollo.toml", cwd=tmp_path
    ) as process:
        server = Supervised(process, tmp_path)
        any_port = process.addresses[2]
        try:
            _configured(tmp_path, f'bind = ["{kept}", "{new}"]', "workers = 2")
            server.write(2)
            server.hand_over()
            assert process.wait() == 0
            assert f" on {kept}, {new} (" in server.ready_line
            for where in (kept, new):
                for _ in range(20):
                    with Peer(where) as peer:
                        assert answer(peer)[0] == "2"
            assert not (tmp_path / "gone").exists()
            with pytest.raises(ConnectionRefusedError):
                Peer(any_port)
        finally:
            server.signal(signal.SIGTERM)
        until(lambda: ended(server.pid))
        assert not (tmp_path / "new").exists()


def test_the_file_of_a_unix_socket_is_the_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "socket"
    with supervised(tmp_path, bind=f"unix:{file}") as server:
        inode = file.stat().st_ino
        server.write(2)
        server.hand_over()
        assert server.server.wait() == 0
        assert file.stat().st_ino == inode
        assert server.ask()[0] == "2"
        server.write("1 / 0")
        server.signal(signal.SIGUSR2)
        _given_up(server)
        until(lambda: len(server.workers) == 2)
        assert server.ask()[0] == "2"
    assert not file.exists()


def test_an_inherited_socket_is_handed_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        with supervised(tmp_path, bind=f"fd://{fd}", pass_fds=[fd]) as server:
            for version in (2, 3):
                server.write(version)
                server.hand_over()
                assert server.ask()[0] == str(version)


def test_a_worker_holds_nothing_of_a_handover(tmp_path: Path) -> None:
    """While it held a channel, the end of a supervisor would not be seen."""
    with supervised(tmp_path) as server:
        before = server.workers
        _hand_over_to_what_waits(server, 2)
        [new] = server.workers - before
        server.write(1)
        os.kill(min(before), signal.SIGKILL)
        server.logged(" serves", 3)
        for pid in server.workers - {new}:
            assert len(sockets_of(pid) & _channels(pid)) == 1  # to its supervisor
        (tmp_path / "wait").unlink()
        server.took_over()
        for pid in server.workers:
            assert len(sockets_of(pid) & _channels(pid)) == 1


def test_one_process_does_not_hand_over() -> None:
    """It has no supervisor: the signal ends it, as any program (signal(7))."""
    with python("-m", "epollo", "serve", "--bind", "127.0.0.1:0") as process:
        process.signal(signal.SIGUSR2)
        assert process.wait() == -signal.SIGUSR2
