"""The load process: `epollo.bench` against a server, and the CPU time that the server used."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from epollo.bench import Result, Workload, run
from epollo.errors import EpolloError
from epollo.lab.processes import Running, output_of

WARMUP = 0.2  # seconds
GRACE = 20.0  # seconds to open connections and wait for late replies


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one load test; times in seconds."""

    rate: float  # messages a second
    p50: float
    p99: float
    busy: float | None  # CPU seconds that the server used a second; None: not Linux


def load(server: Running, core: int | None, shape: tuple[int, int, int], seconds: float) -> Load:
    """Load the server from a child process. ``shape`` is connections, depth and size in bytes.

    Raises EpolloError if a reply was lost, late or wrong.
    """
    command = [sys.executable, "-m", __name__, server.address, str(server.pid)]
    command += [*map(str, shape), str(seconds)]
    return Load(**json.loads(output_of(command, core, WARMUP + seconds + GRACE)))


def measure(workload: Workload, pid: int) -> Load:
    """In the load process: a run to warm up, then the measured one, from its first message.

    The connections of the warm-up end before the second run, because a server may become faster
    after its first end of stream. That is an empty read; freeing its large buffer makes glibc take
    later buffers from the heap instead of mmap (mallopt(3), M_MMAP_THRESHOLD). asyncio becomes
    several times faster by it.
    """
    _checked(run(replace(workload, duration=WARMUP)))
    before = cpu_seconds(pid)
    result = _checked(run(workload))
    after = cpu_seconds(pid)
    p50, p99 = result.response.percentiles([50.0, 99.0])
    busy = None if before is None or after is None else (after - before) / result.elapsed
    return Load(result.rate, p50 / 1e9, p99 / 1e9, busy)


def cpu_seconds(pid: int) -> float | None:
    """The user and system CPU time of all threads of a process (proc(5)); None without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _checked(result: Result) -> Result:
    if result.failed:
        errors = ", ".join(f"{count:,} {error}" for error, count in result.errors.items())
        raise EpolloError(errors or "no message was answered")
    return result


def main(address: str, pid: str, connections: str, depth: str, size: str, seconds: str) -> None:
    """Print the Load as JSON."""
    workload = Workload(
        address=address, connections=int(connections), depth=int(depth), size=int(size),
        duration=float(seconds), warmup=0,
    )  # fmt: skip
    try:
        print(json.dumps(asdict(measure(workload, int(pid)))))
    except EpolloError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
