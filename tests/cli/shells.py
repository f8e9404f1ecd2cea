"""Shells in a terminal of their own, to press keys in."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support import needed_by_python, until

TAB, DELETE_LINE, SHOW_LINE = b"\t", b"\x15", b"\x0f"  # Ctrl-U, Ctrl-O


@dataclass(frozen=True)
class Shell:
    """How to start a shell that reads no files of the user, and how to make it write the line that
    is being edited to the file OUT when Ctrl-O is pressed."""

    command: tuple[str, ...]
    setup: str


SHELLS = {
    "bash": Shell(
        ("bash", "--norc", "--noprofile", "-i"),
        """bind -x '"\\C-o": printf "%s\\n" "$READLINE_LINE" > OUT'\n"""
        "source <(epollo completion bash)\n",
    ),
    "zsh": Shell(
        ("zsh", "-f", "-i"),
        "autoload -Uz compinit; compinit -u -D; source <(epollo completion zsh)\n"
        'show() { print -r -- "$BUFFER" > OUT }; zle -N show; bindkey "^O" show\n',
    ),
    "fish": Shell(
        ("fish", "--private"),
        "bind \\co 'commandline > OUT'\nepollo completion fish | source\n",
    ),
}


class Session:
    """A shell that waits for keys."""

    def __init__(self, screen: int, shown: Path) -> None:
        self._screen = screen
        self._shown = shown

    def completed(self, typed: str) -> str:
        """The line after ``typed`` and the tabulator key."""
        self._press(DELETE_LINE + typed.encode() + TAB)
        return self._line()

    def _line(self) -> str:
        self._press(SHOW_LINE)
        until(self._is_shown)
        line = self._shown.read_text().removesuffix("\n")
        self._shown.unlink()
        return line

    def _is_shown(self) -> bool:
        self._read()
        return self._shown.exists() and self._shown.read_text().endswith("\n")

    def _press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def _read(self) -> None:
        """Drop what the shell shows: it waits while nobody reads that."""
        try:
            while os.read(self._screen, 65536):
                pass
        except OSError:  # there is no more now; or the shell has ended, and the test fails later
            pass


@contextmanager
def session(name: str, folder: Path) -> Iterator[Session]:
    """The shell of that name, in ``folder``, with a command ``epollo`` and its completion."""
    shell = SHELLS[name]
    binaries = folder / "bin"
    binaries.mkdir()
    _write_command(binaries / "epollo")
    here = folder / "here"
    here.mkdir()
    needed = needed_by_python()
    environment = {
        **needed,
        "PATH": f"{binaries}:{needed['PATH']}",
        "HOME": str(folder),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    screen, keyboard = pty.openpty()
    os.set_blocking(screen, False)
    process = subprocess.Popen(
        ("setsid", "--ctty", *shell.command),  # the terminal controls it: fish wants that
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        cwd=here,
        env=environment,
    )
    try:
        shown = folder / "line"
        started = Session(screen, shown)
        for line in shell.setup.replace("OUT", str(shown)).splitlines():
            os.write(screen, line.encode() + b"\n")
        yield started
    finally:
        _kill_session(process.pid)
        process.wait()
        os.close(screen)
        os.close(keyboard)


def _kill_session(leader: int) -> None:
    """Kill the shell, and what it runs: a part of it that was stopped would outlive it."""
    os.kill(leader, signal.SIGKILL)
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == leader:
                os.kill(int(entry.name), signal.SIGKILL)


def is_installed(name: str) -> bool:
    """Is there such a program?"""
    return shutil.which(name) is not None


def _write_command(path: Path) -> None:
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m epollo "$@"\n')
    path.chmod(0o755)
