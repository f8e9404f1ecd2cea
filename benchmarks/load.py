"""The load on a server: one run of the C load generator."""

import json
import subprocess
from dataclasses import dataclass

from benchmarks.build import LOAD
from benchmarks.errors import BenchmarkError
from benchmarks.points import Point

GRACE = 30.0  # seconds beyond its plan that the load generator gets


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator counted within its window of `seconds`.

    Attributes:
        rate: messages per second.
        p50_us: median latency of a message, from its send to its whole reply, in microseconds.
        p99_us: the same at the 99th percentile.
    """

    messages: int
    seconds: float
    rate: float
    errors: int
    p50_us: float
    p99_us: float


def generate(port: int, point: Point, seconds: float, warmup: float, core: int) -> Load:
    """Load the server on 127.0.0.1:`port` from one core.

    Raises:
        BenchmarkError: a connection failed, a reply was wrong, or none came.
    """
    command = [
        *("taskset", "-c", str(core), str(LOAD), f"127.0.0.1:{port}"),
        *("-c", str(point.connections), "--depth", str(point.depth), "-s", str(point.size)),
        *("-d", str(seconds), "--warmup", str(warmup)),
    ]
    load = parse(run(command, seconds + warmup + GRACE))
    if load.messages == 0:
        raise BenchmarkError(f"load: no reply within {seconds:g} s")
    return load


def run(command: list[str], timeout: float) -> str:
    """Return what the command writes on stdout; its last line on stderr is why it failed."""
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, process_group=0
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"load: not done after {timeout:g} s") from None
    if completed.returncode != 0:
        lines = completed.stderr.splitlines()
        raise BenchmarkError(lines[-1] if lines else f"load: status {completed.returncode}")
    return completed.stdout


def parse(line: str) -> Load:
    """Read the line of JSON that the load generator prints."""
    return Load(**json.loads(line))
