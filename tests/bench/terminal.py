"""A command as it runs in a terminal, and whether it left that as it was."""

from __future__ import annotations

import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support import DEADLINE

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
# What the live lines are made of: the cursor hidden and shown, a line up, a line erased, colours.
KNOWN = re.compile(rb"\x1b\[(\?25[lh]|1A|2K|[0-9;]*m)")
HEEDED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


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
        """What it wrote to stdout, to the end."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()

    def status(self) -> int:
        """Of its exit."""
        return self.process.wait(DEADLINE)

    def said(self) -> str:
        """What is left on the screen when it has ended: an error's lines, or nothing."""
        self._read_all()
        last = self.shown.rpartition(b"\x1b[2K")[2]
        return KNOWN.sub(b"", last).decode().replace("\r\n", "\n")

    def assert_as_found(self) -> None:
        """Its modes are what they were, its cursor is to be seen, where it was, and no escape
        sequence went there but those that were undone."""
        self._read_all()
        assert termios.tcgetattr(self.keyboard) == self._before
        assert self.shown.count(HIDE) <= self.shown.count(SHOW)
        assert self.shown.rfind(HIDE) <= self.shown.rfind(SHOW)
        assert b"\x1b" not in KNOWN.sub(b"", self.shown)
        colours = re.findall(rb"\x1b\[([0-9;]*)m", self.shown)
        assert not colours or colours[-1] in (b"", b"0")
        live, erased, _ = self.shown.rpartition(b"\x1b[2K")
        assert live.count(b"\n") == live.count(b"\x1b[1A") or not erased

    def _read_all(self) -> None:
        """Until an end that this side writes."""
        assert self.process.poll() is not None
        os.write(self.keyboard, b"\x00")
        self.wait_for("\x00")
        self.shown = self.shown.replace(b"\x00", b"")


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """``epollo`` with these arguments."""
    command = [sys.executable, "-m", "epollo", *arguments]
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
