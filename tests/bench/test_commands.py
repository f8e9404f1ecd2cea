"""``epollo bench`` as a user meets it: in a pipe, in a terminal, interrupted, and mistyped."""

from __future__ import annotations

import json
import os
import pty
import selectors
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epollo import address
from tests.support import DEADLINE, Peer, epollo, serving

QUICK = ["--connections", "5", "--messages", "1000", "--warmup", "0"]


# -- in a pipe


def test_a_pipe_gets_a_plain_report_and_no_progress() -> None:
    run = epollo("bench", *QUICK, env=os.environ | {"FORCE_COLOR": "1"})
    assert run.returncode == 0
    assert run.stderr == ""
    assert "\x1b" not in run.stdout
    assert "mean round trip " in run.stdout
    assert "\nmessages     1,000 in " in run.stdout
    assert run.stdout.endswith("in order and verified to the byte; no errors\n")


def test_json_on_stdout_is_all_of_it() -> None:
    run = epollo("bench", *QUICK, "-q", "--json", "-")
    assert (run.returncode, run.stderr) == (0, "")
    document = json.loads(run.stdout)
    assert document["version"] == 1
    assert document["messages"] == document["latency"]["count"] == 1000
    assert document["workload"]["messages"] == 1000
    assert document["workload"]["duration"] is None
    assert document["rate"] == pytest.approx(1000 / document["elapsed"])
    assert document["errors"] == {}
    assert list(document["latency"]["percentiles"].values()) == sorted(
        document["latency"]["percentiles"].values()
    )
    assert document["latency"]["percentiles"]["100"] == document["latency"]["maximum"]


def test_json_in_a_file_leaves_the_report_on_the_screen(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    run = epollo("bench", *QUICK, "--json", str(file))
    assert run.returncode == 0
    assert run.stdout.startswith("epollo bench 127.0.0.1:")
    assert json.loads(file.read_text())["messages"] == 1000


def test_quiet_says_nothing() -> None:
    run = epollo("bench", *QUICK, "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_reader_who_has_had_enough_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "epollo", "bench", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(DEADLINE) == 1


# -- against servers


def test_a_server_elsewhere_with_the_options_of_the_run() -> None:
    with serving("--framing", "line") as server:
        run = epollo("bench", server.address, *QUICK, "-f", "line", "--depth", "4", "-s", "1KiB")
    assert run.returncode == 0
    assert run.stdout.startswith(
        f"epollo bench {server.address}\n"
        "5 connections, depth 4, 1 KiB messages, framing line, closed loop, "
        "0 s of warm-up not counted\n"
    )


def test_messages_larger_than_the_server_beside_would_take_by_itself() -> None:
    run = epollo("bench", "-c", "2", "-n", "4", "--warmup", "0", "-s", "20MiB", "-q")
    assert (run.returncode, run.stderr) == (0, "")


def test_a_server_that_dies_is_status_1() -> None:
    with serving() as server:
        command = [sys.executable, "-m", "epollo", "bench", server.address]
        command += ["-d", "60s", "--warmup", "0"]
        with terminal(*command) as run:
            run.wait_for("msg/s")
            server.process.kill()
            assert run.process.wait(DEADLINE) == 1
            report = run.report()
    assert "\nverdict      FAILED: " in report
    assert ", unanswered 100\n" in report


def test_nothing_listening_is_one_line_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = str(address.of(listener.getsockname()))
    assert_fails(
        ["bench", where], 1, f"cannot connect to {where}: connection refused; nothing listens"
    )


# -- mistyped


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["8091"], "bad address '8091': no port; write HOST:PORT"),
        (["-c", "0"], "connections: must be at least 1"),
        (["-c", "many"], "'many' is not a count such as 100 or 10k"),
        (["-s", "1KB"], "'1KB' is not a size such as 64KiB"),
        (["-d", "soon"], "'soon' is not a time such as 250ms"),
        (["-f", "u33"], "unknown framing 'u33': did you mean u32?"),
        (["-f", "raw"], "framing: raw has no messages to time"),
        (["-f", "u8", "-s", "300"], "size: message of 300 bytes is longer than a u8 length"),
        (["--json", "/no/such/folder/x"], "--json /no/such/folder/x: there is no directory"),
        (["--json", "/"], "--json /: is a directory; name a file"),
        (["--no-such-option"], "No such option '--no-such-option'"),
        (["127.0.0.1:1", "127.0.0.1:2"], "Got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(arguments: list[str], why: str) -> None:
    assert_fails(["bench", *arguments], 2, why)


def assert_fails(arguments: list[str], status: int, why: str) -> None:
    run = epollo(*arguments)
    assert (run.returncode, run.stdout) == (status, "")
    assert run.stderr.startswith("epollo: error: ")
    assert why in run.stderr
    assert run.stderr.count("\n") == 1


# -- in a terminal


class Terminal:
    """A command whose stderr is a terminal, and whose stdout is a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int, keyboard: int) -> None:
        self.process = process
        self._screen = screen
        self.keyboard = keyboard
        self._before = termios.tcgetattr(keyboard)
        self.shown = b""

    def wait_for(self, text: str) -> None:
        """Until it is on the screen."""
        deadline = time.monotonic() + DEADLINE
        with selectors.DefaultSelector() as selector:
            selector.register(self._screen, selectors.EVENT_READ)
            while text.encode() not in self.shown:
                assert selector.select(deadline - time.monotonic()), self.shown
                self.shown += os.read(self._screen, 65536)

    def report(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def is_as_found(self) -> bool:
        """Are the terminal's modes as they were, and is its cursor to be seen?"""
        self.wait_for("\x1b[?25h")
        hidden, shown = self.shown.rfind(b"\x1b[?25l"), self.shown.rfind(b"\x1b[?25h")
        return termios.tcgetattr(self.keyboard) == self._before and hidden < shown


HEEDED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": keyboard}
    # A script in the background ignores SIGINT, nohup SIGHUP, and what they start inherits that.
    before = {number: signal.signal(number, heed) for number, heed in HEEDED.items()}
    try:
        with subprocess.Popen(command, env=os.environ | {"TERM": "xterm"}, **options) as process:
            try:
                yield Terminal(process, screen, keyboard)
            finally:
                process.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(screen)
        os.close(keyboard)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_told_to_go_it_reports_and_leaves_nothing_behind(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "epollo", "bench", "-c", "5", "-d", "60s", "--warmup", "0"]
    with terminal(*command) as run:
        run.wait_for("connecting, warming up")
        run.wait_for(" msg/s   p50 ")
        run.process.send_signal(number)
        assert run.process.wait(DEADLINE) == 0
        assert run.is_as_found()
        report = run.report()
    assert report.endswith("in order and verified to the byte; no errors\n")
    server = report.split("\n")[0].removeprefix("epollo bench ")
    with pytest.raises(ConnectionRefusedError):
        Peer(server)


def test_quiet_shows_nothing_on_a_terminal_either() -> None:
    with terminal(sys.executable, "-m", "epollo", "bench", *QUICK, "-q") as run:
        assert run.report() == ""
        assert run.process.wait(DEADLINE) == 0
        os.write(run.keyboard, b"end")
        run.wait_for("end")
    assert run.shown == b"end"
