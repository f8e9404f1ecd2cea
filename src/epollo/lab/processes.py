"""Processes of the comparison: a server on one core and its load on another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from epollo.child_process import child_process, end, ready_address
from epollo.errors import EpolloError


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: its address and process id."""

    address: str
    pid: int


def two_cores() -> tuple[int, int] | None:
    """A core for the server and one for the load; None if there is one core, or no way to choose.

    They are the first and the last usable core, which are seldom two threads of one core.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


@contextmanager
def running(label: str, command: Sequence[str], core: int | None) -> Iterator[Running]:
    """Run a server on one core for the length of a ``with`` block. Raises EpolloError if it does
    not start; adds the server's last line on stderr to an EpolloError of the block.
    """
    with TemporaryFile() as stderr, child_process(command, core=core, stderr=stderr) as process:
        try:
            yield Running(ready_address(process), process.pid)
        except EpolloError as error:
            end(process)
            raise EpolloError(f"{label}: {error}{_last_words(stderr)}") from None


def output_of(command: Sequence[str], core: int | None, seconds: float) -> str:
    """The output of a command run on one core. Raises EpolloError with its last line on stderr if
    it fails, and if it takes more than ``seconds``.
    """
    with TemporaryFile() as stderr:
        with child_process(command, core=core, stderr=stderr) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise EpolloError(f"the load was not done after {seconds:g} s") from None
        if process.returncode != 0:
            raise EpolloError(f"the load failed{_last_words(stderr)}")
    return output.decode()


def _last_words(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; its last words: {last}" if last else ""
