"""The process of a share, seen from the one that started it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from epollo.bench.agents.assignment import Assignment
from epollo.bench.agents.messages import ToAgent, line_of

_END_SECONDS = 5.0
_PIPE = 1 << 20  # bytes; a process never waits for its reader to take some seconds of the run


class AgentProcess:
    """A process that runs ``share``. ``received`` is called, in a thread, with each line that it
    writes, and with None when it will write no more."""

    def __init__(self, share: Assignment, received: Callable[[bytes | None], object]) -> None:
        self.share = share
        self._received = received
        # In a session of its own, so that only the starting process receives Ctrl-C.
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-P", "-m", "epollo.bench.agents.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            start_new_session=True,
        )
        self._write(f"{share.to_json()}\n".encode())
        self._reader = Thread(target=self._read, name="epollo-shares", daemon=True)
        self._reader.start()

    def send(self, message: ToAgent) -> None:
        """Send it a message, if it is still there."""
        self._write(line_of(message))

    def hang_up(self) -> None:
        """End its input: so ends the process."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def close(self) -> None:
        """Hang up, and wait until it ends; kill it after a timeout."""
        self.hang_up()
        self._end()
        self._reader.join()

    def ended(self) -> str:
        """How it ended, in words; to be called when it writes no more."""
        status = self._end()
        if status >= 0:
            return f"ended with status {status}"
        return f"was killed by {signal.Signals(-status).name}"

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # it is gone: the reader says so
            while data:
                data = data[os.write(self.process.stdin.fileno(), data) :]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with suppress(OSError, AttributeError):  # another system's pipes have one size
            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)
        with open(self.process.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                self._received(line)
        self.process.stdout.close()
        self._received(None)

    def _end(self) -> int:
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _environment() -> dict[str, str]:
    """The environment of this process, with the same module path."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
