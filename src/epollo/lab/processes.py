"""Processes of the comparison: a server on one core, its load on another, each sure to end."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, cast

from epollo.errors import EpolloError

START_SECONDS = 10.0
END_SECONDS = 5.0
READY = re.compile(r"serving .*\bon (\S+)")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: where it listens, and its process."""

    address: str
    pid: int


def two_cores() -> tuple[int, int] | None:
    """A core for the server and one for the load, where there are two and they can be chosen.

    They are the first and the last that we may use, which are seldom two threads of one core.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


@contextmanager
def running(label: str, command: Sequence[str], core: int | None) -> Iterator[Running]:
    """The server for the length of a ``with`` block, on one core. Raises EpolloError where it does
    not start, and in place of one from the block, with what the server has to say.
    """
    with TemporaryFile() as stderr:
        process = _start(command, core, stdout=subprocess.PIPE, stderr=stderr)
        try:
            yield Running(_ready_address(process), process.pid)
        except EpolloError as error:
            _end(process)
            raise EpolloError(f"{label}: {error}{_last_words(stderr)}") from None
        finally:
            _end(process)


def output_of(command: Sequence[str], core: int | None, seconds: float) -> str:
    """What the command prints, run on one core. Raises EpolloError where it fails, with its last
    line on stderr, or is not done after so many ``seconds``.
    """
    with TemporaryFile() as stderr:
        process = _start(command, core, stdout=subprocess.PIPE, stderr=stderr)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise EpolloError(f"the load was not done after {seconds:g} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise EpolloError(f"the load failed{_last_words(stderr)}")
    return output.decode()


def _start(
    command: Sequence[str], core: int | None, stdout: int, stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    """In a group of its own, a Ctrl-C at the terminal does not reach it: it is ended from here."""
    process = subprocess.Popen(command, stdout=stdout, stderr=stderr, process_group=0)
    if core is not None:
        try:
            os.sched_setaffinity(process.pid, {core})  # before it has threads, which inherit it
        except ProcessLookupError:  # it has failed, which is told when its output is read
            pass
    return process


def _ready_address(process: subprocess.Popen[bytes]) -> str:
    line = _first_line(cast(IO[bytes], process.stdout).fileno())
    match = READY.search(line)
    if match is None:
        raise EpolloError("ended before it was ready" if not line else f"said {line!r}")
    return match[1]


def _first_line(fd: int) -> str:
    """Up to the end of a line or of the stream, with a deadline."""
    deadline = time.monotonic() + START_SECONDS
    line = b""
    while b"\n" not in line:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise EpolloError(f"not ready within {START_SECONDS:g} s")
        data = os.read(fd, 4096)
        if not data:
            break
        line += data
    return line.partition(b"\n")[0].decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # does nothing where it has ended
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
        cast(IO[bytes], process.stdout).close()


def _last_words(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; its last words: {last}" if last else ""
