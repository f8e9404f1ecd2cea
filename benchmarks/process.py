"""A server's process: start it on one core, learn its port, and end it whatever happens."""

import os
import re
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from benchmarks import certificate
from benchmarks.errors import BenchmarkError
from benchmarks.servers import Server

ROOT = Path(__file__).parent.parent
READY = re.compile(rb"serving (?:\S+ )?on 127\.0\.0\.1:(\d+)")
READY_TIMEOUT = 10.0  # seconds
GREETING_TIMEOUT = 5.0  # seconds
DYING_TIMEOUT = 1.0  # seconds
END_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready."""

    port: int
    pid: int

    @property
    def memory(self) -> int:
        """Its resident memory in bytes (proc(5), statm)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(server: Server, core: int) -> Iterator[Running]:
    """Run the server on one core for the length of a `with` block.

    One connection has come and gone before the block begins. A server that has never seen an end
    is not yet what it will be: the end of a stream is a read of nothing, and to free the large
    buffer of that read makes glibc take later ones from the heap, no longer by mmap (mallopt(3),
    M_MMAP_THRESHOLD). asyncio's servers become up to four times as fast by it.

    Raises:
        BenchmarkError: the server is not ready in time, ends by itself or does not end when told
            to; also in place of a BenchmarkError from the block, with what the server has to say.
    """
    with TemporaryFile() as stderr:
        process = start(server, core, stderr)
        try:
            running = Running(ready_port(process), process.pid)
            greet(running.port, server.tls)
            yield running
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


def greet(port: int, tls: bool) -> None:
    """Have one message echoed on a connection, and end it."""
    message = (5).to_bytes(4) + b"hello"
    try:
        with dial(port, tls) as connection:
            connection.sendall(message)
            echo = connection.recv(len(message))
            end = finish(connection)
    except OSError as error:
        raise BenchmarkError(f"its first connection failed: {error}") from None
    if echo != message or end:
        raise BenchmarkError(f"its first reply is wrong: {echo + end!r}")


def dial(port: int, tls: bool) -> socket.socket:
    """Return a connection to a server on 127.0.0.1."""
    connection = socket.create_connection(("127.0.0.1", port), GREETING_TIMEOUT)
    return certificate.client_context().wrap_socket(connection) if tls else connection


def finish(connection: socket.socket) -> bytes:
    """End a connection, this side first; return what came in place of the other's end."""
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()
        return b""
    connection.shutdown(socket.SHUT_WR)
    return connection.recv(1)


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
