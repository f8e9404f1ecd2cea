"""A server's process: start it on one core, learn its port, and end it whatever happens."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from benchmarks.errors import BenchmarkError
from benchmarks.servers import Server

ROOT = Path(__file__).parent.parent
READY = re.compile(rb"serving (?:\w+ )?on 127\.0\.0\.1:(\d+)")
READY_TIMEOUT = 10.0  # seconds
DYING_TIMEOUT = 1.0  # seconds
END_TIMEOUT = 10.0  # seconds


@contextmanager
def serving(server: Server, core: int) -> Iterator[int]:
    """Run the server on one core for the length of a `with` block, which gets its port.

    Raises:
        BenchmarkError: the server is not ready in time, ends by itself or does not end when told
            to; also in place of a BenchmarkError from the block, with what the server has to say.
    """
    with TemporaryFile() as stderr:
        process = start(server, core, stderr)
        try:
            yield ready_port(process)
            check_alive(process)
        except BenchmarkError as error:
            raise BenchmarkError(f"{server.label}: {error}{postmortem(process, stderr)}") from None
        finally:
            status = end(process)
    if status != 0:
        raise BenchmarkError(f"{server.label}: ended with status {status} on SIGTERM")


def start(server: Server, core: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the server, out of the reach of the terminal's Ctrl-C: ending it is our business."""
    command = ["taskset", "-c", str(core), *server.command]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT, process_group=0
    )


def ready_port(process: subprocess.Popen[bytes]) -> int:
    """Return the port that the server's first line on stdout tells."""
    line = first_line(cast(IO[bytes], process.stdout))
    match = READY.search(line)
    if match is None:
        raise BenchmarkError(f"no address in its first line: {line.decode(errors='replace')!r}")
    return int(match[1])


def first_line(stdout: IO[bytes]) -> bytes:
    """Read a server's stdout up to the end of the first line, with a deadline."""
    deadline = time.monotonic() + READY_TIMEOUT
    received = b""
    while b"\n" not in received:
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise BenchmarkError(f"not ready within {READY_TIMEOUT:g} s")
        data = os.read(stdout.fileno(), 4096)
        if not data:
            raise BenchmarkError("ended before it was ready")
        received += data
    return received.partition(b"\n")[0]


def check_alive(process: subprocess.Popen[bytes]) -> None:
    """Raise BenchmarkError if the server has ended by itself."""
    if process.poll() is not None:
        raise BenchmarkError(f"ended by itself with status {process.returncode}")


def end(process: subprocess.Popen[bytes]) -> int:
    """Send SIGTERM to a server that still runs, and return its exit status.

    A server that ignores SIGTERM is killed in the end, which its status, -9, tells.
    """
    process.terminate()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    cast(IO[bytes], process.stdout).close()
    return process.returncode


def postmortem(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    """End the server and return what its end tells about a failure, to follow the failure's text.

    A server that is dying by itself gets the time to say why.
    """
    try:
        process.wait(DYING_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    status = end(process)
    text = f"; the server ended with status {status}" if status != 0 else ""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").splitlines()
    return f"{text}; its last words: {lines[-1]}" if lines else text
