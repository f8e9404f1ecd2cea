"""epollo with and without workers, and the CPU time of its processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.errors import BenchmarkError
from benchmarks.process import ROOT, postmortem, ready_port
from benchmarks.usage import usage
from epollo.child_process import child_process

ECHO = "benchmarks.handlers:prompt_echo"
BURNING = "benchmarks.handlers:burning_echo"
PROCESS = "benchmarks.handlers:process"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run it: what the tables call it, its workers, 0 for none, and the balance."""

    name: str
    workers: int
    balance: str = ""

    @property
    def flags(self) -> list[str]:
        """Return the options."""
        flags = ["--workers", str(self.workers)] if self.workers else []
        return [*flags, *(["--balance", self.balance] if self.balance else [])]


PLAIN = Variant("no workers", 0)
ONE = Variant("1 worker", 1)
SLOTS = Variant("2 workers, slot", 2, "slot")
EXACT = Variant("2 workers, exact", 2, "exact")
SPREAD = (Variant("4 workers, slot", 4, "slot"), Variant("4 workers, exact", 4, "exact"))


@dataclass(frozen=True, slots=True)
class Group:
    """A server that is ready: its port, and its processes."""

    port: int
    main: int
    workers: tuple[int, ...]

    @property
    def pids(self) -> tuple[int, ...]:
        """Return all processes, the supervisor's too."""
        return (self.main, *self.workers)


@contextmanager
def running(variant: Variant, handler: str, cores: Sequence[int]) -> Iterator[Group]:
    """Run a server for the length of a `with` block. Its workers have one of the cores each, in
    turn; the supervisor has all of them.

    Raises:
        BenchmarkError: it is not ready in time, or ends by itself.
    """
    command = [sys.executable, "-m", "epollo", "serve", handler, "--bind", "127.0.0.1:0"]
    command += ["--framing", "u32", "--drain-quiet", "0", "--log-level", "warning", *variant.flags]
    with (
        TemporaryFile() as stderr,
        child_process(command, stderr=stderr, cwd=ROOT) as process,
    ):
        try:
            port = ready_port(process)
            workers = children(process.pid) if variant.workers else ()
            os.sched_setaffinity(process.pid, cores)
            for number, pid in enumerate(workers):
                os.sched_setaffinity(pid, [cores[number % len(cores)]])
            yield Group(port, process.pid, workers)
            if process.poll() is not None:
                raise BenchmarkError(f"ended by itself with status {process.returncode}")
        except BenchmarkError as error:
            raise BenchmarkError(f"{variant.name}: {error}{postmortem(process, stderr)}") from None


def children(pid: int) -> tuple[int, ...]:
    """Return the child processes of one whose main thread has made them."""
    return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def calibrate(core: int, seconds: float) -> float:
    """Return the part of the time for which a process that always runs had to wait for a core,
    since other programs had it."""
    text = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", text]) as process:
        try:
            time.sleep(0.1)  # its start
            before, begin = usage([process.pid]), time.monotonic()
            time.sleep(seconds)
            used = usage([process.pid]) - before
            return used.waited / (time.monotonic() - begin)
        finally:
            process.kill()
