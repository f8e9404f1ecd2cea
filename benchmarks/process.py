"""A server's process: start it on one core, learn its port, and end it whatever happens."""

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from benchmarks import certificate
from benchmarks.errors import BenchmarkError
from benchmarks.servers import Server
from epollo.child_process import child_process, end, first_line
from epollo.errors import EpolloError

ROOT = Path(__file__).parent.parent
READY = re.compile(r"serving (?:\S+ )?on 127\.0\.0\.1:(\d+)")
GREETING_TIMEOUT = 5.0  # seconds
DYING_TIMEOUT = 1.0  # seconds


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

    @property
    def waited(self) -> float:
        """The seconds for which its main thread was ready to run and had no core (schedstat)."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9


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
    command = ["taskset", "-c", str(core), *server.command]
    with (
        TemporaryFile() as stderr,
        child_process(command, stderr=stderr, cwd=ROOT) as process,
    ):
        try:
            running = Running(ready_port(process), process.pid)
            greet(running.port, server.tls)
            yield running
            check_alive(process)
        except BenchmarkError as error:
            text = f"{server.label}: {error}{postmortem(process, stderr)}"
            raise type(error)(text) from None
    if process.returncode != 0:
        raise BenchmarkError(f"{server.label}: ended with status {process.returncode} on SIGTERM")


def ready_port(process: subprocess.Popen[bytes]) -> int:
    """Return the port that the server's first line on stdout tells."""
    try:
        line = first_line(process)
    except EpolloError as error:
        raise BenchmarkError(str(error)) from None
    if not line:
        raise BenchmarkError("ended before it was ready")
    match = READY.search(line)
    if match is None:
        raise BenchmarkError(f"no address in its first line: {line!r}")
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


def check_alive(process: subprocess.Popen[bytes]) -> None:
    """Raise BenchmarkError if the server has ended by itself."""
    if process.poll() is not None:
        raise BenchmarkError(f"ended by itself with status {process.returncode}")


def postmortem(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    """End the server and return what its end tells about a failure, to follow the failure's text.

    A server that is dying by itself gets the time to say why.
    """
    try:
        process.wait(DYING_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    end(process)
    status = process.returncode
    text = f"; the server ended with status {status}" if status != 0 else ""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").splitlines()
    return f"{text}; its last words: {lines[-1]}" if lines else text
