"""--reload: a change of a .py file reloads the application; broken code waits for the next one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from tests.engines import Engine
from tests.support import DEADLINE, Peer, until
from tests.workers.support import answer, children_of, ended, write


class Developed:
    """``epollo serve --reload``, whose output goes to files."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def children(self) -> set[int]:
        return children_of(self.process.pid)

    def ready(self) -> str:
        """Its address, once it serves."""
        until(lambda: "\n" in self.stdout or self.process.poll() is not None)
        assert self.stdout, self.stderr
        return self.stdout.partition(" on ")[2].partition(" ")[0]

    def logged(self, text: str, times: int = 1) -> None:
        try:
            until(lambda: self.stderr.count(text) >= times)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in {self.stderr}") from None

    def version(self) -> str:
        """The version of the code that answers a new connection. One that the old code accepts
        just before its end is ended with it."""
        while True:
            with suppress(OSError, struct.error), Peer(self.ready()) as peer:
                return answer(peer)[0]

    def serves(self, version: int) -> None:
        """Wait until that version answers."""
        try:
            until(lambda: self.version() == str(version))
        except AssertionError:
            raise AssertionError(f"{version} does not serve: {self.stderr}") from None


def _open(path: Path) -> IO[bytes]:
    return path.open("ab")


@contextmanager
def developing(
    folder: Path, *flags: str, app: str = "app:handle", status: int = 0
) -> Iterator[Developed]:
    """``epollo serve --reload``, ended by SIGINT. Fails if a process is left behind."""
    command = [sys.executable, "-m", "epollo", "serve", app, "--bind", "127.0.0.1:0", "--reload"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # as most users have it
    with _open(folder / "stdout") as stdout, _open(folder / "stderr") as stderr:
        process = subprocess.Popen(
            [*command, *flags], cwd=folder, stdout=stdout, stderr=stderr, env=environment
        )
    server = Developed(folder, process)
    children: set[int] = set()
    try:
        yield server
        children = server.children
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == status
    finally:
        children |= server.children
        if process.poll() is None:
            process.kill()  # its children notice, and end
            process.wait(DEADLINE)
    until(lambda: all(map(ended, children)))


# ---- What is watched


def test_a_change_reloads_the_application(engine: Engine, tmp_path: Path) -> None:
    """Each version is of the same size, and they are written within a second."""
    write(tmp_path, 1)
    with developing(tmp_path, *engine.flags) as server:
        for version in (1, 2, 3, 4):
            write(tmp_path, version)
            server.serves(version)
        assert server.stdout.count("\n") == 1
        assert server.stdout.endswith(" 1 worker)\n")
        assert " changed: app.py\n" in server.stderr


def test_a_file_that_takes_the_place_of_another_is_a_change(tmp_path: Path) -> None:
    """So do most editors save."""
    write(tmp_path, 1)
    with developing(tmp_path) as server:
        server.serves(1)
        (tmp_path / "new").write_text((tmp_path / "app.py").read_text().replace("= 1", "= 2"))
        (tmp_path / "new").replace(tmp_path / "app.py")
        server.serves(2)


def test_modules_below_are_watched_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "numbers.py").write_text("VERSION = 1\n")
    (tmp_path / "app.py").write_text(
        "import os\n"
        "from package.numbers import VERSION\n"
        "handle = lambda message: f'{VERSION} {os.getpid()}'.encode()\n"
    )
    with developing(tmp_path) as server:
        server.serves(1)
        (tmp_path / "notes.txt").write_text("a change")
        (tmp_path / "package" / "numbers.py").write_text("VERSION = 2\n")
        server.serves(2)
        (tmp_path / "later").mkdir()

        def noticed() -> bool:
            (tmp_path / "later" / "module.py").touch()
            return "changed: later/module.py" in server.stderr

        until(noticed)
        assert "notes.txt" not in server.stderr


@pytest.mark.parametrize(
    ("flags", "watched", "unwatched"),
    [
        ([], ["code/app.py", "here/x.py"], "else/x.py"),
        (["--reload-dir", "../else", "--reload-dir", "../code"], ["else/x.py", "code/app.py"], "x"),
    ],
    ids=["default", "chosen"],
)
def test_directories(tmp_path: Path, flags: list[str], watched: list[str], unwatched: str) -> None:
    here = tmp_path / "here"
    for name in ("here", "code", "else"):
        (tmp_path / name).mkdir()
    write(tmp_path / "code", 1)
    with developing(here, "--app-dir", "../code", *flags) as server:
        server.serves(1)
        for name in watched:
            (here / "x.py" if unwatched == "x" else tmp_path / unwatched).touch()
            shutil.copy(tmp_path / "code" / "app.py", tmp_path / "new")
            (tmp_path / "new").replace(tmp_path / name)  # one change, however slow the machine is
            server.logged(f"changed: {os.path.relpath(tmp_path / name, here)}\n")
        assert server.stderr.count("changed: ") == len(watched)


# ---- Broken code


def test_code_that_is_broken_from_the_start_waits_for_a_change(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handle(message):\n    return message\n\n1 / 0\n")
    with developing(tmp_path) as server:
        server.logged("a worker does not boot; waiting for a change: ")
        assert server.stdout == ""
        shown = f'Traceback (most recent call last):\n  File "{tmp_path}/app.py", line 4, in '
        assert server.stderr.startswith(shown)
        (tmp_path / "app.py").write_text("def handle(message:\n")
        server.logged("a worker does not boot; waiting for a change: ", 2)
        assert "SyntaxError" in server.stderr
        write(tmp_path, 2)
        server.serves(2)


def test_code_that_is_broken_by_a_change_leaves_the_code_before_it(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with developing(tmp_path, "--workers", "2") as server:
        server.serves(1)
        write(tmp_path, "1 / 0")
        server.logged("reload given up, the workers before go on: handler module 'app' cannot")
        assert "\nTraceback (most recent call last):\n" in server.stderr
        assert {server.version() for _ in range(20)} == {"1"}
        write(tmp_path, 3)
        server.logged("reload done: 2 workers replaced")
        assert {server.version() for _ in range(20)} == {"3"}


def test_code_that_hangs_in_its_import_does_not_keep_a_change_waiting(tmp_path: Path) -> None:
    write(tmp_path, 1)
    hangs = "import pathlib, time\npathlib.Path('hangs').touch()\ntime.sleep(3600)\n"
    with developing(tmp_path) as server:
        for version in (2, 3):  # while another version serves, and without one
            (tmp_path / "app.py").write_text(hangs)
            until((tmp_path / "hangs").exists)
            (tmp_path / "hangs").unlink()
            write(tmp_path, version)
            server.serves(version)


def test_signals_end_a_server_that_waits_for_a_change(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0\n")
    with developing(tmp_path) as server:
        server.logged("waiting for a change")


# ---- Connections, and the end


def test_connections_of_the_old_code_end_at_once(tmp_path: Path) -> None:
    """They do not have to be silent for a second: a peer that never pauses gets the new code."""
    write(tmp_path, 1)
    with developing(tmp_path, "--graceful-timeout", "1h") as server, Peer(server.ready()) as peer:
        assert answer(peer)[0] == "1"
        write(tmp_path, 2)

        def is_ended() -> bool:
            try:
                answer(peer)
            except (OSError, struct.error):
                return True
            return False

        until(is_ended)
        assert server.version() == "2"


def test_the_watcher_ends_with_its_supervisor(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with developing(tmp_path, status=-signal.SIGKILL) as server:
        server.serves(1)
        server.process.kill()


def test_a_signal_to_the_whole_group_is_no_failure(tmp_path: Path) -> None:
    """As systemd sends it, and a terminal with Ctrl-C."""
    write(tmp_path, 1)
    with developing(tmp_path) as server:
        server.serves(1)
        for child in server.children:
            os.kill(child, signal.SIGINT)
            os.kill(child, signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(DEADLINE)
    assert "watch" not in server.stderr


def test_a_server_whose_watcher_has_ended_says_so_and_ends(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with developing(tmp_path, status=2) as server:
        server.serves(1)
        os.kill(min(server.children), signal.SIGKILL)
        server.process.wait(DEADLINE)
    assert "reload: the process that watches files has ended; start again" in server.stderr


# ---- The command line


def _run(folder: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = ["-c", code] if code else ["-m", "epollo"]
    return subprocess.run(
        [sys.executable, *command, "serve", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_without_watchfiles_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['watchfiles'] = None; import epollo_command as e; e.main()"
    done = _run(tmp_path, "app:handle", "--reload", code=code)
    assert done.returncode == 2
    assert done.stderr == "epollo: error: --reload: needs watchfiles; pip install 'epollo[dev]'\n"


def test_defaults_in_development(tmp_path: Path) -> None:
    def shown(*flags: str) -> list[str]:
        done = _run(tmp_path, "app:handle", "--show-config", *flags)
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    lines = shown("--reload")
    assert "reload = true # --reload" in lines
    assert '# graceful_timeout = "1s" # default with reload' in lines
    assert "# workers = 1 # default with reload" in lines
    lines = shown("--reload", "--drain-quiet", "5s", "--workers", "3")
    assert '# graceful_timeout = "30s" # default' in lines
    assert 'workers = "3" # --workers' in lines


def test_it_is_given_in_the_environment_and_in_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "epollo.toml").write_text("reload = true\n" + f"reload_dir = {json.dumps(['no'])}")
    done = _run(tmp_path, "app:handle", "--config", "epollo.toml")
    assert done.stderr == "epollo: error: epollo.toml:2: reload_dir: 'no' is not a directory\n"
