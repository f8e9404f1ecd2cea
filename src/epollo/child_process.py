"""A server in a child process: start it, wait for its ready line, and end it in every case."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from epollo.errors import EpolloError

START_SECONDS = 10.0
END_SECONDS = 10.0
READY = re.compile(r"serving .*\bon (\S+)")


@contextmanager
def child_process(
    command: Sequence[str],
    *,
    core: int | None = None,
    stdin: int | None = None,
    stderr: IO[bytes] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` for the length of a ``with`` block, on ``core`` if given; its stdout is a
    pipe. It has its own session, so a Ctrl-C at the terminal does not reach it."""
    process = subprocess.Popen(  # noqa: S603 (the callers' own commands)
        command,
        bufsize=0,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=cwd,
        env=_without_settings(),
        start_new_session=True,
    )
    try:
        if core is not None:
            _pin(process, core)
        yield process
    finally:
        end(process)


def _without_settings() -> dict[str, str]:
    """The environment without the settings of `epollo serve`: they are those of the user's own
    server, and ``command`` has all that its server needs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EPOLLO_")}


def ready_address(process: subprocess.Popen[bytes]) -> str:
    """The address in its ready line. Raises EpolloError if there is none within START_SECONDS."""
    line = first_line(process)
    match = READY.search(line)
    if match is None:
        raise EpolloError("ended before it was ready" if not line else f"said {line!r}")
    return match[1]


def first_line(process: subprocess.Popen[bytes]) -> str:
    """Its first line on stdout; shorter if stdout ends. Raises EpolloError after START_SECONDS."""
    stdout = cast(IO[bytes], process.stdout)
    deadline = time.monotonic() + START_SECONDS
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while b"\n" not in line:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise EpolloError(f"not ready within {START_SECONDS:g} s")
            data = os.read(stdout.fileno(), 4096)
            if not data:
                break
            line += data
    return line.partition(b"\n")[0].decode(errors="replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """End it by the end of its stdin if that is a pipe, else by SIGTERM; after END_SECONDS by
    SIGKILL. Does nothing if it has ended."""
    if process.stdin is not None:
        process.stdin.close()
    else:
        process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
        cast(IO[bytes], process.stdout).close()


def _pin(process: subprocess.Popen[bytes], core: int) -> None:
    try:
        os.sched_setaffinity(process.pid, {core})  # before it has threads, which inherit it
    except ProcessLookupError:  # it has failed; reading its output will show that
        pass
