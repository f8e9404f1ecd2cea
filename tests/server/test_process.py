"""The settings about the whole process: its user and group, its pid file, its name."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

import epollo
from epollo import process_identity
from epollo.process_identity import PidFile
from tests.support import (
    Peer,
    ServerProcess,
    epollo_here,
    in_a_fork,
    serving,
    started,
    until,
    unused,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = pwd.getpwnam("nobody")


def status(pid: int, name: str) -> list[int]:
    """The numbers behind ``name`` in /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return [int(word) for word in line.split()[1:]]
    raise AssertionError(f"no {name}")


def refused(*arguments: str) -> str:
    """The one line that `epollo serve` says, which does not serve."""
    done = epollo_here("serve", "--bind", "127.0.0.1:0", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("epollo: error: ")


# ---- User and group


@root_only
def test_it_serves_as_that_user_from_the_ready_line_on() -> None:
    """For good: all four of its IDs change, and the groups of root are gone."""
    with serving("--user", "nobody") as server, Peer(server.address) as peer:
        assert peer.ask(b"hello") == b"hello"
        pid = server.process.pid
        assert status(pid, "Uid") == [NOBODY.pw_uid] * 4
        assert status(pid, "Gid") == [NOBODY.pw_gid] * 4
        assert set(status(pid, "Groups")) == set(os.getgrouplist("nobody", NOBODY.pw_gid))
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log == []


@root_only
@pytest.mark.parametrize("user", ["", "nobody", str(NOBODY.pw_uid)])
def test_a_group_of_its_own(user: str) -> None:
    group = grp.getgrnam("daemon")
    flags = ["--user", user] if user else []
    with serving(*flags, "--group", "daemon") as server:
        pid = server.process.pid
        assert status(pid, "Gid") == [group.gr_gid] * 4
        assert status(pid, "Uid") == [NOBODY.pw_uid if user else 0] * 4
        assert group.gr_gid in status(pid, "Groups")
        assert 0 not in status(pid, "Groups")


@root_only
def test_a_low_port_and_a_unix_socket_are_bound_before(tmp_path: Path) -> None:
    """By root; and the socket's file belongs to the user, who removes it."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.owner() != "root" or not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    path = folder / "socket"
    with serving("--user", "nobody", "--bind", f"unix:{path}", bind="127.0.0.9:77") as server:
        assert path.owner() == "nobody"
        with Peer(f"unix:{path}") as peer:
            assert peer.ask(b"hello") == b"hello"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log == []
    assert not path.exists()


@root_only
def test_the_application_starts_as_the_user(tmp_path: Path) -> None:
    """``started`` runs as the user; the module is imported before."""
    (tmp_path / "whoami.py").write_text(
        "import os\n"
        "imported = os.geteuid()\n"
        "class App:\n"
        "    def started(self, server): self.began = os.geteuid()\n"
        "    def received(self, message): return b'%d %d' % (imported, self.began)\n"
    )
    with (
        serving("whoami:App", "--user", "nobody", cwd=tmp_path) as server,
        Peer(server.address) as peer,
    ):
        assert peer.ask(b"?") == b"0 %d" % NOBODY.pw_uid


@root_only
@pytest.mark.parametrize("setting", ["user", "group"])
def test_somebody_else_cannot(setting: str) -> None:
    def refuse() -> None:
        os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
        with pytest.raises(epollo.SettingError) as raised:
            process_identity.identity(**{setting: "daemon"})
        assert str(raised.value) == (
            f"{setting}: only root can become 'daemon'; start the command as root, or leave it out"
        )

    in_a_fork(refuse)


def test_who_is_that_user_already_needs_no_root() -> None:
    with (
        mock.patch.object(os, "geteuid", return_value=NOBODY.pw_uid),
        mock.patch.object(os, "getegid", return_value=NOBODY.pw_gid),
    ):
        assert process_identity.identity("nobody") is None
    assert process_identity.identity() is None


def test_a_name_that_is_not_there() -> None:
    assert refused("--user", "nobdy") == (
        "--user: there is no user 'nobdy' here; getent passwd lists them"
    )
    assert refused("--group", "99999999999") == (
        "--group: there is no group '99999999999' here; getent group lists them"
    )


# ---- The pid file


@contextlib.contextmanager
def with_pid_file(path: Path, *flags: str) -> Iterator[ServerProcess]:
    with serving("--pid-file", str(path), *flags) as server:
        yield server


def test_the_file_is_there_while_it_serves(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with with_pid_file(path) as server:
        assert path.read_text() == f"{server.process.pid}\n"
        assert path.stat().st_mode & 0o777 == 0o644
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_process_that_has_ended_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with with_pid_file(path) as server:
        server.signal(signal.SIGKILL)
        server.wait()
        stale = server.process.pid
    assert path.read_text() == f"{stale}\n"
    for content in (f"{stale}\n", "", "no pid", "9" * 40, "0"):
        path.write_text(content)
        with with_pid_file(path) as server:
            assert path.read_text() == f"{server.process.pid}\n"
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_process_that_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with with_pid_file(path) as server:
        pid = server.process.pid
        assert refused("--pid-file", str(path)) == (
            f"--pid-file: {str(path)!r} is in use by process {pid}, which runs; stop that, "
            "or name another file"
        )
        assert path.read_text() == f"{pid}\n"
        assert list(tmp_path.iterdir()) == [path]


@root_only
def test_a_process_of_another_user_runs_too(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")

    def write() -> None:
        os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
        assert process_identity._runs(1)

    in_a_fork(write)
    assert "is in use by process 1" in refused("--pid-file", str(path))


def test_no_link_is_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "precious", tmp_path / "pid"
    target.write_text("precious")
    path.symlink_to(target)
    assert refused("--pid-file", str(path)) == (
        f"--pid-file: {str(path)!r} is a symbolic link; name a regular file"
    )
    assert target.read_text() == "precious"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert "is a symbolic link" in refused("--pid-file", str(path))
    path.unlink()
    path.mkdir()
    assert "is not a regular file" in refused("--pid-file", str(path))
    path.rmdir()
    os.mkfifo(path)
    assert "is not a regular file" in refused("--pid-file", str(path))


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "pid"
    assert refused("--pid-file", str(path)) == (
        f"--pid-file: cannot write {str(path)!r}: No such file or directory; name a file in "
        "a directory that this user may write"
    )


def test_another_ones_file_is_not_removed(tmp_path: Path) -> None:
    file = PidFile(tmp_path / "pid")
    file.write()
    in_a_fork(lambda: _expect("", file.remove()))
    assert file.path.read_text() == f"{os.getpid()}\n"
    file.path.write_text("1\n")
    assert file.remove() == ""
    assert file.path.read_text() == "1\n"


def _expect(wanted: object, got: object) -> None:
    assert wanted == got


def test_no_file_where_the_address_is_in_use(tmp_path: Path) -> None:
    with serving() as other:
        done = epollo_here("serve", "--bind", other.address, "--pid-file", str(tmp_path / "pid"))
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@root_only
def test_a_file_in_a_directory_of_roots_is_left_behind_and_said(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with with_pid_file(path, "--user", "nobody") as server:
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        (line,) = server.log
        assert f"{path} is left behind: Permission denied" in line


# ---- The name


def test_it_has_that_name() -> None:
    pytest.importorskip("setproctitle")
    with serving("--process-name", "gateway one") as server:
        command = Path(f"/proc/{server.process.pid}/cmdline")
        until(lambda: command.read_bytes().startswith(b"gateway one"))


def test_without_the_package_it_says_what_to_install() -> None:
    with mock.patch.dict(sys.modules, {"setproctitle": None}):
        assert refused("--process-name", "gateway") == (
            "--process-name: needs setproctitle, which is not installed: pip install "
            "setproctitle, or leave --process-name out"
        )


# ---- From Python


@pytest.mark.parametrize("setting", ["user", "group", "pid_file", "process_name"])
def test_a_server_within_a_program_takes_none_of_them(setting: str) -> None:
    server = epollo.Server(bind="127.0.0.1:0", **{setting: "root"})  # type: ignore[arg-type]
    with (
        pytest.raises(epollo.SettingError, match=f"{setting}: is about the whole process"),
        server,
    ):
        pass
    server.close()
    with unused():
        pass


def test_serve_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    program = f"import epollo; epollo.serve(bind='127.0.0.1:0', pid_file={str(path)!r})"
    with started(sys.executable, "-c", program) as server:
        assert path.read_text() == f"{server.process.pid}\n"
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    assert not path.exists()
