"""`epollo top` in a terminal, and once for scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from epollo import Server
from epollo.control.client import ControlClient
from tests.bench.terminal import Screen, new_screen
from tests.support import DEADLINE, Peer, Recorder, epollo_here, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@contextmanager
def top(path: Path, *arguments: str) -> Iterator[tuple[Screen, subprocess.Popen[bytes]]]:
    """`epollo top` of the server at ``path``, in a terminal of its own."""
    with (
        new_screen() as screen,
        subprocess.Popen(
            [sys.executable, "-m", "epollo", "top", "--control", path, *arguments],
            stdin=screen.keyboard,
            stdout=screen.keyboard,
            stderr=screen.keyboard,
            env=os.environ | {"COLUMNS": "140", "LINES": "24", "TERM": "xterm"},
        ) as process,
    ):
        try:
            yield screen, process
        finally:
            process.kill()


def shows(screen: Screen, text: str) -> None:
    """It shows ``text`` from now on."""
    screen.shown = b""
    screen.wait_for(text)


def press(screen: Screen, keys: bytes) -> None:
    os.write(screen._screen, keys)


def test_keys_sort_select_close_and_quit(path: Path, recorder: Recorder) -> None:
    with (
        Server(recorder, "127.0.0.1:0", control=path) as server,
        Peer(server.addresses[0]) as peer,
        top(path) as (screen, process),
    ):
        assert peer.ask(b"hello") == b"hello"
        shows(screen, "connections  1 open")
        shows(screen, "(by unsent, 1 of 1)")
        press(screen, b"o")
        shows(screen, "(by out, 1 of 1)")
        press(screen, b"k")
        shows(screen, "select a connection first")
        press(screen, b"\x1b[B")
        press(screen, b"k")
        shows(screen, "at once? y or n")
        press(screen, b"n")
        shows(screen, "q:quit")
        assert server.connections
        press(screen, b"k")
        shows(screen, "at once? y or n")
        press(screen, b"y")
        shows(screen, "is closed")
        assert peer.receive_until_gone() == b""
        shows(screen, "local 1 in the last minute")
        press(screen, b"q")
        assert process.wait(DEADLINE) == 0


def test_a_server_that_goes_away_is_told_and_found_again(path: Path, recorder: Recorder) -> None:
    with top_of_two_servers(path, recorder) as (screen, process):
        shows(screen, "tried again each second")
        with Server(recorder, "127.0.0.1:0", control=path) as second:
            shows(screen, second.addresses[0])
            press(screen, b"q")
            assert process.wait(DEADLINE) == 0


@contextmanager
def top_of_two_servers(
    path: Path, recorder: Recorder
) -> Iterator[tuple[Screen, subprocess.Popen[bytes]]]:
    """It has shown the first one, which is stopped."""
    first = Server(recorder, "127.0.0.1:0", control=path)
    with first:
        shown = top(path)
        screen, process = shown.__enter__()
        shows(screen, first.addresses[0])
    try:
        yield screen, process
    finally:
        shown.__exit__(None, None, None)


def test_the_terminal_is_left_as_it_was(path: Path, recorder: Recorder) -> None:
    with (
        Server(recorder, "127.0.0.1:0", control=path),
        top(path) as (screen, process),
    ):
        shows(screen, "q:quit")
        screen.shown = b""
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        screen.wait_for("\x1b[?1049l")  # the screen that was there before
        screen.assert_restored()


def test_one_screen_for_scripts(path: Path, recorder: Recorder) -> None:
    with (
        Server(recorder, "127.0.0.1:0", control=path) as server,
        Peer(server.addresses[0]) as peer,
    ):
        peer.ask(b"hello")
        run = epollo_here("top", "--control", str(path), "--once")
    assert (run.stderr, run.returncode) == ("", 0)
    assert "connections  1 open   0 accepted/s" in run.stdout
    assert "\x1b" not in run.stdout
    assert str(os.getpid()) in run.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "top: needs a terminal; --once prints one screen elsewhere"),
        (["--once", "--sort", "size"], "--sort: 'size' is not one of unsent"),
        (["--once"], "no control socket at "),
    ],
)
def test_what_it_cannot_show_is_one_line(path: Path, arguments: list[str], text: str) -> None:
    run = epollo_here("top", "--control", str(path), *arguments)
    assert run.stderr.startswith(f"epollo: error: {text}")
    assert run.stderr.count("\n") == 1
    assert run.returncode in (1, 2)


def test_it_is_a_client_as_any_other(path: Path, recorder: Recorder) -> None:
    """And is gone when it has quit."""
    with Server(recorder, "127.0.0.1:0", control=path) as server:
        with top(path) as (screen, process):
            shows(screen, "q:quit")
            press(screen, b"q")
            assert process.wait(DEADLINE) == 0
        control = server._admin.control if server._admin is not None else None
        assert control is not None
        until(lambda: not control._sessions)
        with ControlClient(str(path)) as client:
            assert client.ask("status")["totals"]["connections"]["accepted"] == 0
