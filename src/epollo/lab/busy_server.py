"""A server that listens at once and is busy before it first accepts, in a child process.

It sleeps instead of working. That makes no difference to the kernel, which handles the handshakes
and the accept queue itself and only sees that accept() is not called (listen(2)). After that it is
an ordinary `epollo.Server`.

It reads its standard input: a byte says that the clients start now, and the end of the input, also
caused by the end of the parent process, ends the server.
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
from epollo.child_process import child_process, first_line
from epollo.errors import EpolloError
from epollo.server.server import Server


@dataclass(frozen=True, slots=True)
class BusyServer:
    """The server, seen from the clients' process."""

    address: Address
    stdin: IO[bytes]

    def begin(self) -> None:
        """Tell the server that the clients start now: it is busy from now on."""
        try:
            self.stdin.write(b".")
        except BrokenPipeError:
            raise EpolloError("the server has ended by itself") from None


@contextmanager
def busy_server(queue: int, busy: float) -> Iterator[BusyServer]:
    """A server with an accept queue of ``queue``, busy for ``busy`` seconds once told to begin.

    Raises EpolloError if it does not start. It has ended when the ``with`` block ends.
    """
    command = [sys.executable, "-m", __name__, str(queue), str(busy)]
    with child_process(command, stdin=subprocess.PIPE) as process:
        bound = first_line(process)
        if not bound:
            raise EpolloError("the server ended before it was ready")
        assert process.stdin is not None
        yield BusyServer(address.parse(bound), process.stdin)


def serve_when_free(queue: int, busy: float) -> None:
    """The child process: listen, print the address, wait for the start, be busy, serve."""
    server = Server(bind="127.0.0.1:0", backlog=queue)
    server.start()
    print(server.addresses[0], flush=True)
    if not _stdin_byte():
        return
    time.sleep(busy)
    threading.Thread(target=_stop_at_end, args=(server,), daemon=True).start()
    server.run()


def _stop_at_end(server: Server) -> None:
    while _stdin_byte():
        pass
    server.stop(grace=0)


def _stdin_byte() -> bytes:
    return os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    serve_when_free(int(sys.argv[1]), float(sys.argv[2]))
