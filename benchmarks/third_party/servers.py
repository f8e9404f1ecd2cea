"""The servers of the others, each on one core for the length of a `with` block."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryDirectory
from typing import TypeAlias

from benchmarks.errors import BenchmarkError
from benchmarks.process import Running

START_SECONDS = 10.0
HOST = "127.0.0.1"

Serve: TypeAlias = Callable[[int], AbstractContextManager[Running]]
"""Takes the server's core."""


def require(program: str, package: str) -> None:
    """Raise BenchmarkError if a program is not installed."""
    if shutil.which(program) is None:
        raise BenchmarkError(f"no {program}: on Debian, apt install {package}")


@contextmanager
def sockperf(core: int) -> Iterator[Running]:
    """Run sockperf's server on TCP. It serves one connection at a time."""
    port = free_port()
    with listening(
        ["sockperf", "server", "--tcp", "-i", HOST, "-p", str(port)], port, core
    ) as running:
        yield running


@contextmanager
def redis(core: int) -> Iterator[Running]:
    """Run redis-server, which writes nothing to disk."""
    port = free_port()
    with TemporaryDirectory() as folder:
        command = ["redis-server", "--bind", HOST, "--port", str(port), "--dir", folder]
        with listening([*command, "--save", "", "--appendonly", "no"], port, core) as running:
            yield running


def free_port() -> int:
    """Return a port that was free just now: these servers cannot tell one that they have chosen."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def listening(command: list[str], port: int, core: int) -> Iterator[Running]:
    """Run the server on its core; its port accepts connections when the block begins.

    Raises:
        BenchmarkError: it is not ready in time, or has ended before the block does.
    """
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # a Ctrl-C is for the benchmark, which then ends it
    )
    try:
        wait_until_accepting(process, port, command[0])
        yield Running(port, process.pid)
        if process.poll() is not None:
            raise BenchmarkError(f"{command[0]}: ended by itself with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def wait_until_accepting(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Return once the port accepts a connection."""
    late = time.monotonic() + START_SECONDS
    while time.monotonic() < late:
        if process.poll() is not None:
            raise BenchmarkError(f"{name}: ended before it was ready; was port {port} taken?")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.01)
    raise BenchmarkError(f"{name}: not ready within {START_SECONDS:g} s")
