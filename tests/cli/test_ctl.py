"""The command line of `epollo ctl`; what a server makes of it: tests/control."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from epollo import Server
from epollo.cli import control_reports as reports
from epollo.cli.ctl import ctl
from tests.bench.terminal import new_screen
from tests.control.support import figures
from tests.support import Peer, Recorder, epollo_here, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def served(path: Path, recorder: Recorder) -> Iterator[Peer]:
    """A connection of a server with a control socket, which has had one message."""
    with Server(recorder, "127.0.0.1:0", control=path) as server, Peer(server.addresses[0]) as peer:
        assert peer.ask(b"hello") == b"hello"
        yield peer


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return epollo_here("ctl", *arguments)


def error(*arguments: str) -> str:
    """The error of a command: one line."""
    done = run(*arguments)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    return f"{done.returncode}: {done.stderr.removeprefix('epollo: error: ').strip()}"


def test_the_path_is_given_in_three_ways(
    path: Path, served: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "epollo.toml"
    file.write_text(f'bind = "127.0.0.1:0"\ncontrol = "{path}"\n')
    assert run("--control", str(path), "status").returncode == 0
    assert run("status", "--control", str(path)).returncode == 0
    assert run("--config", str(file), "status").returncode == 0
    monkeypatch.setenv("EPOLLO_CONFIG", str(file))
    assert run("status").returncode == 0
    monkeypatch.setenv("EPOLLO_CONTROL", "/nowhere")
    assert error("status").startswith("1: no control socket at /nowhere")
    assert run("--config", str(file), "status").returncode == 0
    assert run("--config", str(file), "status", "--control", str(path)).returncode == 0


def test_without_a_path_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    assert error("status") == (
        "2: no control socket is named; write --control PATH, or set EPOLLO_CONTROL, as for "
        "epollo serve"
    )
    file = tmp_path / "epollo.toml"
    assert "cannot read" in error("--config", str(file), "status")
    file.write_text("workers = 2")
    assert "has no control" in error("--config", str(file), "status")


def test_what_cannot_be_reached_is_told_apart(path: Path) -> None:
    assert error("--control", str(path), "status") == (
        f"1: no control socket at {path}: start the server with --control {path}"
    )
    path.write_text("")
    assert error("--control", str(path), "status").startswith(f"1: {path} is no socket")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_permission_is_told_who_has_it(path: Path, served: Peer) -> None:
    for folder in [path.parent, *list(path.parents)[:-2]]:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)
    os.seteuid(65534)
    try:
        text = error("--control", str(path), "status")
    finally:
        os.seteuid(0)
    assert text == f"1: no permission to connect to {path}: only root and root may"


def test_json_is_one_line_wherever_it_is_asked_for(path: Path, served: Peer) -> None:
    for arguments in (["--json", "workers"], ["workers", "--json"]):
        done = run("--control", str(path), *arguments)
        assert done.stdout.count("\n") == 1
        assert json.loads(done.stdout)["workers"][0]["pid"] == os.getpid()


def test_a_connection_is_listed_closed_and_listed_as_closed(path: Path, served: Peer) -> None:
    def ctl(*arguments: str) -> str:
        done = run("--control", str(path), *arguments)
        assert (done.stderr, done.returncode) == ("", 0)
        return done.stdout

    header, row = ctl("connections").splitlines()
    assert header.split()[:2] == ["CONNECTION", "PEER"]
    name = row.split()[0]
    assert name.startswith(f"{os.getpid()}:")
    assert ctl("closed") == "none\n"
    assert name in ctl("close", name)
    assert served.receive_until_gone() == b""
    until(lambda: "local" in ctl("closed"))
    assert ctl("connections") == "none\n"
    assert ctl("status").startswith("serves ")


def test_the_longest_turn_of_each_worker_is_listed() -> None:
    rows = [
        {"worker": 1, "pid": 4711, "stage": "serves", "age": 1.0, "figures": figures()},
        {"worker": 2, "pid": 4712, "stage": "serves", "age": 1.0, "figures": None},
    ]
    for width in (None, 140, 80):
        title, told, untold = reports.workers({"workers": rows}, width)
        end = title.index("LONGEST TURN") + len("LONGEST TURN")
        assert told[:end].endswith("  20 ms")
        assert untold[:end].endswith("  -")


def test_the_help_names_each_command_in_a_whole_line() -> None:
    commands = run("--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert len(commands) == len(ctl.commands)
    assert all(line.endswith(".") and "..." not in line for line in commands)


def test_more_are_offered_only_if_there_may_be_more() -> None:
    row = {"at": 0.0, "id": "1:2", "peer": "a", "reason": "eof", "error": "", "seconds": 1.0}
    numbers = ("messages_in", "messages_out", "bytes_in", "bytes_out", "unsent")
    answer = {"total": 7, "closed": [{**row, **dict.fromkeys(numbers, 0)}] * 2}
    assert reports.closed(answer, None, 2)[-1] == "2 of 7; --limit shows more"
    assert len(reports.closed(answer, None, 3)) == 3  # a header and all that were asked for


def test_the_status_fits_the_terminal() -> None:
    answer = {
        "stage": "serves",
        "ready_line": f"epollo: serving app:handle on 127.0.0.1:1 ({'engine ' * 12})",
        "pid": 1,
        "version": "1",
        "uptime": 1.0,
        "workers": None,
        "totals": {},
    }
    lines = reports.status(answer, 40)
    assert lines[0] == "serves   app:handle on 127.0.0.1:1"
    assert lines[1].startswith("         (engine engine")
    assert max(map(len, lines)) <= 40
    assert lines[-1] == reports.status(answer, None)[-1] == "process  1, epollo 1, up 1.0s"


def test_a_list_fits_the_terminal(path: Path, served: Peer) -> None:
    with new_screen() as screen:
        command = [sys.executable, "-m", "epollo", "ctl", "--control", str(path), "connections"]
        subprocess.run(
            command,
            stdout=screen.keyboard,
            stderr=screen.keyboard,
            env=os.environ | {"COLUMNS": "60"},
            timeout=60,
            check=True,
        )
        screen.wait_for("127.0.0.1")
        lines = screen.shown.decode().splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert "\x1b" not in screen.shown.decode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["conections"], "no command conections of epollo ctl: did you mean connections?"),
        (["stop"], "no command stop of epollo ctl: write epollo ctl drain --all"),
        (["connections", "--sort", "size"], "no sort 'size': there are unsent"),
        (["connections", "--limit", "0"], "--limit: 0 is not from 1 to 200"),
        (["closed", "--resaon", "eof"], "no option --resaon: did you mean --reason?"),
        (["close"], "CONNECTION: name one, as PROCESS:NUMBER, or --peer ADDRESS"),
        (["close", "1:1", "--peer", "a"], "CONNECTION: name one"),
        (["close", "1:1", "2:2"], "2:2: epollo ctl close takes only one CONNECTION; leave it out"),
        (["drain"], "WORKER: name one by its number, or write --all to stop the server"),
        (["drain", "1", "--all"], "WORKER: name one by its number"),
        (["drain", "one"], "WORKER: 'one' is not a whole number"),
        (["log-level", "loud"], "no level 'loud': there are debug, info, warning"),
        (["log-level", "debgu"], "no level 'debgu': did you mean debug?"),
        (["--jsn", "status"], "no option --jsn of epollo ctl: did you mean --json?"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    path: Path, served: Peer, arguments: list[str], text: str
) -> None:
    assert error("--control", str(path), *arguments)[3:].startswith(text)
