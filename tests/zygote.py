"""Many `epollo` commands, each in a process of its own, at a tenth of the usual cost.

One process imports everything, and forks for each command. So a test can have dozens of servers at
once. What matters about the start and the end of an interpreter is tested with
`tests.support.serving`, which starts a whole one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NoReturn, Self, cast

from tests.support import DEADLINE, ServerProcess

_REQUEST_SIZE = 1 << 16


class Child:
    """One command's process: what `ServerProcess` needs of a `subprocess.Popen`."""

    def __init__(self, zygote: Zygote, pid: int, stdout: IO[str]) -> None:
        self._zygote = zygote
        self.pid = pid
        self.stdout = stdout
        self._status: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        if self._status is None:
            self._status = self._zygote.wait(self.pid)
        return self._status

    def kill(self) -> None:
        if self._status is None:
            self.send_signal(signal.SIGKILL)
            self._zygote.wait(self.pid)


class Zygote:
    """Starts `epollo` commands, while its context lasts."""

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(DEADLINE)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.wait(DEADLINE)

    @contextmanager
    def serving(self, *arguments: str, env: dict[str, str]) -> Iterator[ServerProcess]:
        """``epollo serve`` with these arguments, on a free port; killed with the context."""
        reader, writer = os.pipe()
        with TemporaryFile("a+") as log, open(reader) as stdout:  # noqa: PTH123
            command = ["serve", "--bind", "127.0.0.1:0", *arguments]
            request = json.dumps({"command": command, "env": env}).encode()
            socket.send_fds(self._socket, [request], [writer, log.fileno()])
            os.close(writer)
            child = Child(self, int(self._socket.recv(_REQUEST_SIZE)), stdout)
            try:
                yield ServerProcess(cast(Any, child), log)
            finally:
                child.kill()

    def wait(self, pid: int) -> int:
        """The exit status of one, as `subprocess.Popen.wait` gives it."""
        self._socket.send(json.dumps({"wait": pid}).encode())
        return int(self._socket.recv(_REQUEST_SIZE))


def main(channel: socket.socket) -> None:
    """The process that forks."""
    import asyncio  # noqa: F401 (so that no child has to)

    import epollo.cli.main
    import epollo.cli.serve  # so that no child has to, either

    try:
        import uvloop  # noqa: F401
    except ModuleNotFoundError:
        pass
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, _REQUEST_SIZE, 2)
        if not data:
            return
        request = json.loads(data)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                _run(request, descriptors, channel, epollo.cli.main.main)
            for descriptor in descriptors:
                os.close(descriptor)
        channel.send(str(answer).encode())


def _run(request: Any, descriptors: list[int], channel: socket.socket, command: Any) -> NoReturn:
    channel.close()
    for descriptor, number in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Not those of this process, which know whether another file can seek.
    sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    os.environ.update(request["env"])
    sys.argv = ["epollo", *request["command"]]
    command()
    raise AssertionError("the command returned")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
