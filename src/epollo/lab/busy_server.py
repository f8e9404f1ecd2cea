"""A server that listens at once and is busy before it first accepts; a process of its own.

Busy with what is nothing to the kernel: the handshake and the accept queue are its own, and all
that it sees of a busy server is that accept() is not called (listen(2)). So it sleeps, where a
real one would compute, or wait for a database; then it is an `epollo.Server` like any other.

Its standard input is its lifeline: a byte says that the clients start now, and the end of it
(`close`, or the death of whoever held it) ends the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from epollo import address
from epollo.address import Address
from epollo.errors import EpolloError
from epollo.server.server import Server

START_SECONDS = 10.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BusyServer:
    """The server, as the clients' process sees it."""

    address: Address
    lifeline: IO[bytes]

    def begin(self) -> None:
        """The clients start now: so does the time for which the server is busy."""
        try:
            self.lifeline.write(b".")
        except BrokenPipeError:
            raise EpolloError("the server has ended by itself") from None


@contextmanager
def busy_server(queue: int, busy: float) -> Iterator[BusyServer]:
    """A server with an accept queue of ``queue``, busy for ``busy`` seconds once told to begin.

    Raises EpolloError where it does not start. It is gone when the ``with`` block ends.
    """
    command = [sys.executable, "-m", __name__, str(queue), str(busy)]
    # In a group of its own, a Ctrl-C at the terminal does not reach it: it is ended from here.
    process = subprocess.Popen(  # noqa: S603
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as lifeline, process.stdout as stdout:
        try:
            yield BusyServer(_bound_address(process, stdout), lifeline)
        finally:
            _end(process, lifeline)


def serve_when_free(queue: int, busy: float) -> None:
    """The server's process: listen, tell the address, wait for the start, be busy, serve."""
    server = Server(bind="127.0.0.1:0", backlog=queue)
    server.start()
    print(server.addresses[0], flush=True)
    if not _lifeline_byte():
        return
    time.sleep(busy)
    threading.Thread(target=_stop_at_end, args=(server,), daemon=True).start()
    server.run()


def _bound_address(process: subprocess.Popen[bytes], stdout: IO[bytes]) -> Address:
    deadline = threading.Timer(START_SECONDS, process.kill)  # which ends the wait for the line
    deadline.start()
    try:
        line = stdout.readline().decode().strip()
    finally:
        deadline.cancel()
        deadline.join()
    if not line:
        raise EpolloError(f"the server ended, or did not start within {START_SECONDS:g} s")
    return address.parse(line)


def _end(process: subprocess.Popen[bytes], lifeline: IO[bytes]) -> None:
    lifeline.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()  # does nothing where it has ended
        process.wait()


def _stop_at_end(server: Server) -> None:
    while _lifeline_byte():
        pass
    server.stop(grace=0)


def _lifeline_byte() -> bytes:
    return os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    serve_when_free(int(sys.argv[1]), float(sys.argv[2]))
