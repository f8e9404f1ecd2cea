"""The load on a server: one run of a load generator, in which both sides are observed."""

import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from benchmarks.build import CHURN, LOAD
from benchmarks.errors import BenchmarkError, NoReply
from benchmarks.process import Running
from benchmarks.quiet import LOAD_WAITED, SERVER_WAITED
from benchmarks.usage import Stopwatch, minor_faults

GRACE = 30.0  # seconds beyond its plan that the load generator gets
MARGIN = 0.05  # of the window, at either end, that is not observed: the clocks differ a little
PYTHON_START = 0.3  # seconds that `epollo bench` takes until its warm-up


@dataclass(frozen=True, slots=True)
class Window:
    """How long a load lasts, in seconds, and the core that it comes from."""

    seconds: float
    warmup: float
    core: int


def closed_loop(
    server: Running, connections: int, depth: int, size: int, window: Window
) -> dict[str, float]:
    """Load the server; each connection keeps `depth` messages outstanding.

    Returns:
        What the load generator prints: `rate` in messages per second, latencies from the send to
        the whole reply in microseconds.

    Raises:
        BenchmarkError: a connection failed, a reply was wrong, or none came.
    """
    return run(LOAD, server, connections, size, window, "--depth", str(depth))


def open_loop(
    server: Running, connections: int, rate: float, size: int, window: Window
) -> dict[str, float]:
    """Send so many messages a second in all, each at its planned time.

    Returns:
        The same; latencies are from the planned time, and `slip_p999_us` is by how much the load
        generator itself was late.

    Raises:
        BenchmarkError: the same.
    """
    return run(LOAD, server, connections, size, window, "--rate", str(max(1, round(rate))))


def churn(server: Running, connections: int, size: int, window: Window) -> dict[str, float]:
    """Open connections, have one message echoed on each, and end them, so many at a time.

    Returns:
        `rate` in connections per second.

    Raises:
        BenchmarkError: a connection failed, or a reply was wrong.
    """
    return run(CHURN, server, connections, size, window)


def epollo_bench(
    server: Running, connections: int, size: int, window: Window, *options: str
) -> dict[str, float]:
    """Load the server with `epollo bench`.

    Returns:
        `rate` in messages per second and, of an open loop, the part of the messages that were
        sent more than a millisecond late, in percent, and by how much the 99.9 % were. NaN is
        what was not measured.

    Raises:
        BenchmarkError: a connection failed, a reply was wrong, or none came.
    """
    command = [
        *("taskset", "-c", str(window.core), sys.executable, "-m", "epollo", "bench"),
        *(f"127.0.0.1:{server.port}", "-c", str(connections), "-s", str(size), *options),
        *("-d", f"{window.seconds}s", "--warmup", f"{window.warmup}s", "--json", "-"),
    ]
    text, seen = observed(command, server, window, PYTHON_START)
    result = json.loads(text)
    if not result["rate"]:
        raise NoReply(f"epollo bench: no reply within {window.seconds:g} s")
    return {
        "rate": result["rate"],
        **seen.values(result["rate"]),
        "p99_us": _scaled(result["response"]["percentiles"]["99"], 1e6),
        "late_percent": _scaled(result["late"], 100),
        "slip_p999_us": _scaled(result["slip"]["percentiles"]["99.9"], 1e6),
    }


def _scaled(value: float | None, factor: float) -> float:
    """``value`` in another unit; NaN if it was not measured, as the lateness of a closed loop."""
    return math.nan if value is None else value * factor


def run(
    program: Path, server: Running, connections: int, size: int, window: Window, *options: str
) -> dict[str, float]:
    """Run a load generator and read the line of JSON that it prints."""
    command = [
        *("taskset", "-c", str(window.core), str(program), f"127.0.0.1:{server.port}"),
        *("-c", str(connections), "-s", str(size), *options),
        *("-d", str(window.seconds), "--warmup", str(window.warmup), "--announce"),
    ]
    text, seen = observed(command, server, window)
    values: dict[str, float] = json.loads(text)
    if not values["rate"]:
        raise NoReply(f"load: no reply within {window.seconds:g} s")
    return values | seen.values(values["rate"])


@dataclass(frozen=True, slots=True)
class Observed:
    """The cores that the server used, and the parts of the window for which each side had none; and
    the server's page faults a second."""

    server_cores: float
    server_waited: float
    load_cores: float
    load_waited: float
    faults: float

    def values(self, rate: float) -> dict[str, float]:
        """Return them by name, with the server's CPU time of each message in microseconds and its
        page faults."""
        return {
            "cpu_us": 1e6 * self.server_cores / rate,
            "faults": self.faults / rate,
            "load_cores": self.load_cores,
            SERVER_WAITED: self.server_waited,
            LOAD_WAITED: self.load_waited,
        }


def observed(
    command: list[str], server: Running, window: Window, start: float | None = None
) -> tuple[str, Observed]:
    """Run a load generator, which first tells when its window begins, or whose warm-up begins
    `start` seconds after it is started.

    Returns:
        What it writes on stdout, and what was seen of both sides within the window.

    Raises:
        BenchmarkError: it failed; its last line on stderr is why.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            begin = time.monotonic() + (start or 0) + window.warmup
            if start is None and (line := cast(IO[str], process.stdout).readline()):
                begin = float(line)
            seen = observe(server.pid, process.pid, begin, window.seconds)
            output, errors = process.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"load: not done {GRACE:g} s after its window") from None
        finally:
            process.kill()
    if process.returncode != 0:
        lines = errors.splitlines()
        raise BenchmarkError(lines[-1] if lines else f"load: status {process.returncode}")
    return output, seen


def observe(server: int, load: int, begin: float, seconds: float) -> Observed:
    """Observe two processes in all of a window but its margins. If that comes late, so did this
    process get its core, and they may have: the lateness counts as time for which they waited."""
    sleep_until(begin + MARGIN * seconds)
    watches = Stopwatch(server), Stopwatch(load)
    before, started = minor_faults(server), time.monotonic()
    sleep_until(begin + (1 - MARGIN) * seconds)
    faults = (minor_faults(server) - before) / (time.monotonic() - started)
    seen = Observed(*watches[0].stop(), *watches[1].stop(), faults)
    late = max(0.0, time.monotonic() - begin - seconds) / seconds
    return replace(seen, load_waited=max(seen.load_waited, late))


def sleep_until(when: float) -> None:
    """Sleep until a time of the monotonic clock."""
    time.sleep(max(0.0, when - time.monotonic()))


def output(command: list[str], timeout: float) -> str:
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
