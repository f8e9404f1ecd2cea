"""User, group, pid file and name of a supervisor and of its workers; what each has of a budget."""

from __future__ import annotations

import os
import pwd
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from epollo.errors import SettingError
from epollo.settings import Settings
from epollo.workers.processes import Processes
from tests.support import epollo, epollo_here, until
from tests.workers.support import Supervised, supervised

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

WHO = """
import os

VERSION = {version}
imported = os.geteuid()
handle = lambda message: f"{{imported}} {{os.getpid()}}".encode()
"""


def _uids(pid: int) -> set[int]:
    return {
        int(word)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("Uid:")
        for word in line.split()[1:]
    }


def _readable(folder: Path) -> None:
    """For everybody, with the folders it is in."""
    folder.chmod(0o755)
    for parent in folder.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


@root_only
def test_workers_import_the_application_as_the_user(tmp_path: Path) -> None:
    """The supervisor stays root, and can listen on a low port for one more worker."""
    nobody = pwd.getpwnam("nobody").pw_uid
    _readable(tmp_path)
    path = tmp_path / "socket"
    (tmp_path / "app.py").write_text(WHO.format(version=1))
    flags = ("--user", "nobody", "--bind", f"unix:{path}")
    with supervised(tmp_path, *flags, bind="127.0.0.9:77") as server:
        assert path.owner() == "nobody"
        assert _uids(server.pid) == {0}
        assert server.ask()[0] == str(nobody)
        server.signal(signal.SIGTTIN)
        server.logged("one worker more: 3")
        server.logged(" serves", 3)
        server.signal(signal.SIGHUP)
        server.logged("reload done")
        assert all(_uids(worker) == {nobody} for worker in server.workers)
        assert server.ask()[0] == str(nobody)
    assert not path.exists()


@root_only
def test_a_user_that_does_not_exist_is_refused_before_anything(tmp_path: Path) -> None:
    flags = ("--pid-file", str(tmp_path / "pid"), "--workers", "2", "--bind", "127.0.0.1:0")
    done = epollo_here("serve", "--user", "nobody-at-all", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("epollo: error: --user: there is no user 'nobody-at-all' here")
    assert not (tmp_path / "pid").exists()


@root_only
def test_a_file_that_cannot_be_given_to_the_user_is_refused_in_one_line(tmp_path: Path) -> None:
    processes = Processes(Settings(user="nobody"))
    with pytest.raises(SettingError, match=r"^user: cannot become 'nobody': No such file"):
        processes.begin([str(tmp_path / "gone")])


def test_the_pid_file_is_the_supervisors(tmp_path: Path) -> None:
    """Workers that come and go leave it alone."""
    path = tmp_path / "pid"
    with supervised(tmp_path, "--pid-file", str(path)) as server:
        assert int(path.read_text()) == server.pid
        server.signal(signal.SIGHUP)
        server.logged(" has drained", 2)
        os.kill(min(server.workers), signal.SIGKILL)
        server.logged("another takes its place")
        assert int(path.read_text()) == server.pid
    assert not path.exists()


def _titles(server: Supervised) -> list[str]:
    """What ps(1) shows for the workers, without the padding that setproctitle leaves."""
    commands = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in sorted(server.workers))
    return [command.strip(b"\0 ").decode() for command in commands]


def test_each_process_has_a_name(tmp_path: Path) -> None:
    pytest.importorskip("setproctitle")
    with supervised(tmp_path, "--process-name", "gate") as server:
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert command.strip(b"\0 ") == b"gate: supervisor"
        assert _titles(server) == ["gate: worker 1", "gate: worker 2"]
        server.signal(signal.SIGHUP)
        server.logged(" has drained", 2)
        until(lambda: _titles(server) == ["gate: worker 1", "gate: worker 2"])


def test_the_budget_of_memory_is_divided(tmp_path: Path) -> None:
    """Of twelve incomplete frames, one of two workers holds six: more than its half."""
    with supervised(tmp_path, "--max-memory", "8MiB") as server, ExitStack() as stack:
        for _ in range(12):
            peer = stack.enter_context(server.connect())
            peer.send((1000 << 10).to_bytes(4, "big") + bytes(900 << 10))
        server.logged("max_memory of a worker is 4194304 bytes, and connections held")


def test_a_part_of_the_budget_under_one_frame_is_refused() -> None:
    flags = ("--workers", "4", "--bind", "127.0.0.1:0", "--max-memory", "2MiB")
    done = epollo("serve", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "--max-memory: is divided among the workers, and the part of each is under" in line


def test_the_pid_file_follows_a_handover(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with supervised(tmp_path, "--pid-file", str(path)) as server:
        server.hand_over()
        until(path.exists)
        assert int(path.read_text()) == server.pid
    until(lambda: not path.exists())
