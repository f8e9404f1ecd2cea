"""Connections that are held idle, by a process of their own."""

import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from benchmarks.build import IDLE
from benchmarks.errors import BenchmarkError

PLAIN = (str(IDLE),)
TLS = (sys.executable, "-m", "benchmarks.tls_idle")

TIMEOUT = 60.0  # seconds, for one step of opening
END_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Idlers:
    """The process that holds them."""

    process: subprocess.Popen[bytes]

    def grow(self, count: int) -> None:
        """Open connections until there are `count`, each with one message echoed.

        Raises:
            BenchmarkError: one failed, or they take too long.
        """
        stdin, stdout = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        stdin.write(f"{count}\n".encode())
        ready, _, _ = select.select([stdout], [], [], TIMEOUT)
        if not ready:
            raise BenchmarkError(f"idle: {count:,} connections not open after {TIMEOUT:g} s")
        if stdout.readline() != f"{count}\n".encode():
            raise BenchmarkError(self.last_words())

    def last_words(self) -> str:
        """Return the last line on stderr of a process that is ending."""
        lines = cast(IO[bytes], self.process.stderr).read().decode().splitlines()
        return lines[-1] if lines else "idle: ended by itself"


@contextmanager
def idlers(port: int, core: int, program: Sequence[str] = PLAIN) -> Iterator[Idlers]:
    """Hold connections to 127.0.0.1:`port` until the `with` block ends."""
    command = ["taskset", "-c", str(core), *program, f"127.0.0.1:{port}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0
    ) as process:
        try:
            yield Idlers(process)
            cast(IO[bytes], process.stdin).close()
            process.wait(END_TIMEOUT)
        finally:
            process.kill()
