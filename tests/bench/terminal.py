"""A command as it runs in a terminal, and whether it left that as it was."""

from __future__ import annotations

import io
import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import pytest

from tests.logs import SLOW
from tests.support import DEADLINE, run_main

NO_MORE: Mapping[str, str] = {}
END = b"\x00"
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
# What the live lines are made of: the cursor hidden and shown, a line up, a line erased, colours.
KNOWN = re.compile(rb"\x1b\[(\?25[lh]|1A|2K|[0-9;]*m)")
SLOW_LINE = re.compile(rb"[^\r\n\x1b]*%b[^\r\n]*\r\n" % SLOW.encode())  # of the server beside
HEEDED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


class Screen:
    """A terminal's: what is written to ``keyboard``, its other end, is shown."""

    def __init__(self, screen: int, keyboard: int) -> None:
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

    def said(self) -> str:
        """What is left on it when all is over: an error's line, or nothing."""
        self._read_all()
        last = self.shown.rpartition(b"\x1b[2K")[2]
        return KNOWN.sub(b"", last).decode().replace("\r\n", "\n")

    def assert_as_found(self) -> None:
        """Its modes are what they were, its cursor is to be seen, where it was, and no escape
        sequence went there but those that were undone."""
        self._read_all()
        self.assert_restored()
        assert self.shown.count(HIDE) <= self.shown.count(SHOW)
        assert self.shown.rfind(HIDE) <= self.shown.rfind(SHOW)
        assert b"\x1b" not in KNOWN.sub(b"", self.shown)
        colours = re.findall(rb"\x1b\[([0-9;]*)m", self.shown)
        assert not colours or colours[-1] in (b"", b"0")
        live, erased, _ = self.shown.rpartition(b"\x1b[2K")
        assert live.count(b"\n") == live.count(b"\x1b[1A") or not erased

    def assert_restored(self) -> None:
        """Its modes are what they were."""
        assert termios.tcgetattr(self.keyboard) == self._before

    def _read_all(self) -> None:
        """Until an end that this side writes."""
        os.write(self.keyboard, END)
        self.wait_for(END.decode())
        self.shown = SLOW_LINE.sub(b"", self.shown.replace(END, b""))


class Terminal(Screen):
    """A command whose stderr is a terminal, and whose stdout is a pipe."""

    def __init__(self, screen: Screen, process: subprocess.Popen[bytes]) -> None:
        super().__init__(screen._screen, screen.keyboard)
        self.process = process

    def report(self) -> str:
        """What it wrote to stdout, to the end."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def status(self) -> int:
        """Of its exit."""
        return self.process.wait(DEADLINE)


@contextmanager
def new_screen() -> Iterator[Screen]:
    """A new terminal, which nobody has as yet."""
    screen, keyboard = pty.openpty()
    try:
        yield Screen(screen, keyboard)
    finally:
        os.close(screen)
        os.close(keyboard)


@contextmanager
def terminal(
    *arguments: str, start: Sequence[str] = ("-m", "epollo"), env: Mapping[str, str] = NO_MORE
) -> Iterator[Terminal]:
    """``epollo`` with these arguments, in a process and a terminal of its own; ``start`` is what
    Python starts it by, ``env`` more of its environment."""
    command = [sys.executable, *start, *arguments]
    # A script in the background ignores SIGINT, nohup SIGHUP, and what they start inherits that.
    before = {number: signal.signal(number, heed) for number, heed in HEEDED.items()}
    try:
        with (
            new_screen() as screen,
            subprocess.Popen(
                command,
                env={**os.environ, "TERM": "xterm", **env},
                stdout=subprocess.PIPE,
                stderr=screen.keyboard,
            ) as process,
        ):
            try:
                yield Terminal(screen, process)
            finally:
                process.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_here(screen: Screen, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """The exit status and the stdout of ``epollo`` with these arguments, run in this process with
    ``screen`` as its stderr: no process has to start for it."""
    monkeypatch.setenv("TERM", "xterm")
    stdout = io.StringIO()
    with (
        os.fdopen(os.dup(screen.keyboard), "w") as stderr,
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        status = run_main(*arguments)
    return status, stdout.getvalue()
