"""How long a turn of the server's loop takes while it is looked at, with thousands of connections.

    python -m benchmarks.looks [--engine native] [--workers] [--connections 5000] [--seconds 3]

A server holds idle connections and serves busy ones. Meanwhile it is scraped, or asked at its
control socket, again as soon as it has answered. Printed for each kind of question: the CPU time of
the longest turns of the loop that serves the connections, next to those of a server that nobody
asks. They are right on a busy machine too, except for caches that others use.
"""

import argparse
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import build, load, machine
from benchmarks.__main__ import count
from benchmarks.errors import BenchmarkError
from benchmarks.idlers import idlers
from benchmarks.load import Window
from benchmarks.process import Running, dial, serving
from benchmarks.servers import Server, epollo
from epollo.control.client import ControlClient
from epollo.engine import available, new_loop

TELL = b"tell"
BUSY = 20  # connections
CLOSED = 1000  # as many are kept
WARMUP = 0.5  # seconds
TIMEOUT = 10.0  # seconds

Ask = Callable[[], object]


class Timed:
    """An echo server that measures each turn of its loop; the message `TELL` is answered with those
    since it came last, in ns, the longest first."""

    def __init__(self) -> None:
        self._turns: list[int] = []
        for engine in available():
            loop = new_loop(engine)
            loop.close()
            type(loop).run = partialmethod(_run, self._turns)  # type: ignore[assignment]

    def received(self, message: bytes) -> bytes:
        if message != TELL:
            return message
        told, self._turns[:] = sorted(self._turns, reverse=True), []
        median = told[len(told) // 2]
        return json.dumps({"turns": len(told), "median": median, "most": told[:5]}).encode()


def _run(loop: Any, turns: list[int]) -> None:
    now = time.thread_time_ns
    while not loop._stopping:
        before = now()
        loop.poll()
        turns.append(now() - before)
    loop._stopping = False


def tell(server: Running) -> dict[str, Any]:
    """Return what the server has measured since this was called last."""
    with dial(server.port, tls=False) as peer:
        peer.sendall(len(TELL).to_bytes(4) + TELL)
        size = int.from_bytes(peer.recv(4))
        data = b""
        while len(data) < size:
            data += peer.recv(size)
    result: dict[str, Any] = json.loads(data)
    return result


@contextmanager
def asking(ask: Ask) -> Iterator[list[int]]:
    """Ask again and again until the `with` block ends; yields how often, in a list of one."""
    asked, over = [0], threading.Event()

    def ask_all() -> None:
        while not over.is_set():
            ask()
            asked[0] += 1

    thread = threading.Thread(target=ask_all)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


def scrape(path: str) -> None:
    """Get the page of the metrics at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(TIMEOUT)
        peer.connect(path)
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page = b""
        while part := peer.recv(1 << 16):
            page += part
    if not page.startswith(b"HTTP/1.1 200 "):
        raise BenchmarkError(f"no page: {page[:80]!r}")


def questions(metrics: str, client: ControlClient) -> dict[str, Ask | None]:
    """Return each way to look at a server."""
    return {
        "nobody asks": None,
        "scrapes": lambda: scrape(metrics),
        "ctl workers": lambda: client.ask("workers"),
        "ctl connections": lambda: client.ask("connections", sort="seconds", limit=200),
        "ctl closed": lambda: client.ask("closed", limit=CLOSED),
        "ctl closed, none found": lambda: client.ask("closed", peer="192.0.2.1"),
        "ctl close, none found": lambda: client.answer("close", peer="192.0.2.1"),
    }


def measure(engine: str, workers: bool, connections: int, seconds: float) -> None:
    """Print a line for each kind of question."""
    core, load_core = machine.cores()
    window = Window(seconds, WARMUP, load_core)
    with TemporaryDirectory() as folder:
        control, metrics = f"{folder}/control", f"{folder}/metrics"
        options = ["--control", control, "--metrics", f"unix:{metrics}"]
        options += ["--workers", "1"] if workers else []
        row = epollo(engine, engine, "", *options, "benchmarks.looks:Timed")
        label = f"{engine}, {'a worker' if workers else 'one process'}"
        server = Server(row.name, label, row.command)
        with serving(server, core) as running, idlers(running.port, load_core) as idle:
            for _ in range(CLOSED):
                dial(running.port, tls=False).close()
            idle.grow(connections)
            with ControlClient(control) as client:
                for name, ask in questions(metrics, client).items():
                    print(f"{label}, {name}: {line(running, ask, window)}", flush=True)


def line(server: Running, ask: Ask | None, window: Window) -> str:
    """Return the figures of one kind of question."""
    tell(server)
    if ask is None:
        values, asked = load.closed_loop(server, BUSY, 1, 64, window), [0]
    else:
        with asking(ask) as asked:
            values = load.closed_loop(server, BUSY, 1, 64, window)
    told = tell(server)
    most = ", ".join(f"{each / 1000:.0f}" for each in told["most"])
    return (
        f"the longest of {told['turns']:,} turns {most} µs, the median {told['median'] / 1000:.0f};"
        f" {asked[0]:,} answers, {values['rate']:,.0f} messages a second"
    )


def main() -> int:
    """Print all lines."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.looks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", choices=available(), help="only this one")
    parser.add_argument("--workers", action="store_true", help="only a worker, not one process")
    parser.add_argument("--connections", type=count, default=5000, help="that are idle")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each question")
    options = parser.parse_args()
    machine.allow_descriptors()
    for program in (build.LOAD, build.IDLE):
        build.build(program)
    try:
        for engine in [options.engine] if options.engine else available():
            for workers in (True,) if options.workers else (False, True):
                measure(engine, workers, options.connections, options.seconds)
    except BenchmarkError as error:
        sys.exit(f"looks: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
