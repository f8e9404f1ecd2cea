"""What Python's cyclic garbage collector adds to a server's latency, and what helps.

    python -m benchmarks.collector [--objects 200000] [--seconds 5]

A server whose application has loaded many objects, and whose handler makes some for each message,
is loaded on 100 connections. Printed for each way: how many collections there were in a million
messages, their share of the CPU time, and the CPU time of the longest, by which every connection
waits. These are right on a busy machine too; the percentiles of the latency are not.
"""

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import build, load, machine, quiet
from benchmarks.__main__ import count
from benchmarks.errors import BenchmarkError
from benchmarks.load import Window
from benchmarks.process import serving
from benchmarks.servers import NATIVE, Server
from epollo import Connection

WAYS = ("as Python does", "default", "threshold", "off")
THRESHOLD = 50_000  # of the youngest generation, in place of CPython's 700 or 2,000
CONNECTIONS = 100
KEPT = 2000  # of the latest messages, for each connection: what lives long grows for a while
ENVIRONMENT = "BENCHMARK_COLLECTOR"  # what the handler is told: JSON


class Handler:
    """Parses each message, keeps the latest of a connection, and measures the collector."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = json.loads(os.environ[ENVIRONMENT])
        self._loaded = [{"number": n, "text": str(n)} for n in range(self._told["objects"])]
        self._begun = self._messages = 0
        self._times: list[tuple[int, int]] = []  # generation, ns

    def started(self, server: object) -> None:
        way = self._told["way"]
        if way == "threshold":
            gc.set_threshold(THRESHOLD, 20, 100)
        if way == "off":
            gc.disable()
        gc.callbacks.append(self._collection)

    def connected(self, connection: Connection) -> None:
        if self._told["way"] == "as Python does":
            gc.unfreeze()  # `epollo serve` has frozen what was loaded
        connection.state = []

    def received(self, message: bytes, connection: Connection) -> bytes:
        self._messages += 1
        connection.state.append({"size": len(message), "parts": [message[:8], message[8:]]})
        if len(connection.state) > KEPT:
            del connection.state[0]
        return message

    def stopped(self, server: object) -> None:
        gc.callbacks.remove(self._collection)
        result = {"messages": self._messages, "cpu": time.process_time_ns(), "times": self._times}
        Path(self._told["output"]).write_text(json.dumps(result))

    def _collection(self, phase: str, about: dict[str, int]) -> None:
        now = time.thread_time_ns()
        if phase == "start":
            self._begun = now
        else:
            self._times.append((about["generation"], now - self._begun))


def measure(way: str, objects: int, seconds: float) -> str:
    """Return the line about one way."""
    window = Window(seconds, 0.3, machine.cores()[1])
    with TemporaryDirectory() as folder:
        output = Path(folder) / "seen.json"
        told = json.dumps({"way": way, "objects": objects, "output": str(output)})
        command = ("env", f"{ENVIRONMENT}={told}", *NATIVE.command, "benchmarks.collector:Handler")
        server = Server("collector", f"collector, {way}", command)
        with serving(server, machine.cores()[0]) as running:
            values = load.closed_loop(running, CONNECTIONS, 1, 64, window)
        seen = json.loads(output.read_text())
    times = [nanoseconds for _, nanoseconds in seen["times"]]
    full = sum(generation == 2 for generation, _ in seen["times"])
    million = seen["messages"] / 1e6
    return (
        f"{way}: {len(times) / million:,.0f} collections in a million messages,"
        f" {full / million:,.0f} of them full; {sum(times) / seen['messages'] / 1e3:.2f} µs of CPU"
        f" a message, of {values['cpu_us']:.1f}; the longest {max(times, default=0) / 1e6:.1f} ms;"
        f" p99 {values['p99_us'] / 1e3:.1f} ms, p99.9 {values['p999_us'] / 1e3:.1f} ms"
        f" (server and load waited for a core for up to {quiet.waited(values):.0%})"
    )


def main() -> int:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.collector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--objects", type=count, default=200_000, help="loaded at the start")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each way")
    options = parser.parse_args()
    machine.allow_descriptors()
    build.build(build.LOAD)
    try:
        for way in WAYS:
            print(measure(way, options.objects, options.seconds), flush=True)
    except BenchmarkError as error:
        sys.exit(f"collector: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
