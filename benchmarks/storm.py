"""How long a storm of resets keeps another peer waiting.

    python -m benchmarks.storm [--connections 9000] [--rounds 5]

The server is stopped by SIGSTOP while all connections but one are reset, and that one sends a
message; so the server meets the whole storm at once. It goes on, and that peer sends its next
message at each reply until the storm is over. Printed for each server: the longest of its waits,
and the most CPU time that the server used in one: the wait on a machine of its own.
"""

import argparse
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeAlias

from benchmarks import build, machine, markdown
from benchmarks.__main__ import count
from benchmarks.errors import BenchmarkError
from benchmarks.process import Running, serving
from benchmarks.samples import figure
from benchmarks.servers import LIMIT, NATIVE, PYTHON, Server, runnable
from benchmarks.usage import usage

Longest: TypeAlias = tuple[float, float]  # ms: the longest wait, the most CPU time in one

MOST_MS = 100.0
TIMEOUT = 60.0
FRAME = (5).to_bytes(4) + b"hello"
RESET = struct.pack("ii", 1, 0)  # struct linger: close sends a reset


def with_hooks(server: Server) -> Server:
    """Return the server with a handler that has hooks, and with the access log."""
    return replace(
        server,
        name=f"{server.name}-hooks",
        label=f"{server.label}, with hooks and access log",
        command=(*server.command, "benchmarks.handlers:Hooked", "--access-log", "log",
                 "--log-file", os.devnull),
    )  # fmt: skip


SERVERS = (LIMIT, NATIVE, with_hooks(NATIVE), PYTHON, with_hooks(PYTHON))


def ask(peer: socket.socket) -> None:
    """Send a message and receive its reply."""
    peer.sendall(FRAME)
    if peer.recv(len(FRAME), socket.MSG_WAITALL) != FRAME:
        raise BenchmarkError("a wrong reply")


def dial(port: int) -> socket.socket:
    """Return a connection that was served."""
    peer = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    ask(peer)
    return peer


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (a Path each is slow)


def storm(server: Running, connections: int) -> Iterator[tuple[float, float]]:
    """Yield, for each message of the other peer, its wait and the server's CPU time, in seconds."""
    with ExitStack() as stack:
        good = stack.enter_context(dial(server.port))
        few = descriptors(server.pid)
        others = [stack.enter_context(dial(server.port)) for _ in range(connections)]
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for peer in others:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()
            good.sendall(FRAME)
            before, start = usage([server.pid]), time.monotonic()
        finally:
            os.kill(server.pid, signal.SIGCONT)
        over = False
        while not over:
            if good.recv(len(FRAME), socket.MSG_WAITALL) != FRAME:
                raise BenchmarkError("a wrong reply in the storm")
            wait, used = time.monotonic() - start, usage([server.pid]) - before
            yield wait, used.ran
            over = descriptors(server.pid) <= few
            before, start = usage([server.pid]), time.monotonic()
            good.sendall(FRAME)


def measure(server: Server, connections: int, core: int) -> Longest:
    """Return the longest wait, and the most CPU time that the server used in one, in ms."""
    with serving(server, core) as running:
        found = list(storm(running, connections))
    return 1000 * max(wait for wait, _ in found), 1000 * max(used for _, used in found)


def measure_all(servers: list[Server], rounds: int, connections: int) -> dict[str, list[Longest]]:
    """Return the longest of each round by the server's name; servers take turns."""
    core, load_core = machine.cores()
    os.sched_setaffinity(0, [load_core])
    found: dict[str, list[Longest]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            found[server.name].append(measure(server, connections, core))
    return found


def line(server: Server, found: list[Longest]) -> tuple[str, bool]:
    """Return the line about a server, and whether the bound is kept."""
    waits, cpu = (figure(list(values)) for values in zip(*found, strict=True))
    assert cpu is not None
    met = cpu.median <= MOST_MS
    text = (
        f"{server.label}: longest wait {markdown.spread(waits, milliseconds)} ms, CPU time of the"
        f" server in one wait {markdown.spread(cpu, milliseconds)} ms"
    )
    return f"{text}; at most {MOST_MS:g}: {'met' if met else 'NOT met'}", met


def main() -> int:
    """Print a line for each server; return 1 if one of ours needs too much CPU time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.storm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--connections", type=count, default=9000, help="that are reset")
    parser.add_argument("--rounds", type=count, default=5, help="turns of every server")
    options = parser.parse_args()
    machine.allow_descriptors()
    build.build(build.ECHO_SERVER)
    servers = runnable(SERVERS, SERVERS)
    try:
        found = measure_all(servers, options.rounds, options.connections)
    except BenchmarkError as error:
        sys.exit(f"storm: {error}")
    status = 0
    for server in servers:
        text, met = line(server, found[server.name])
        print(text)
        status |= not (met or server is LIMIT)
    return status


def milliseconds(value: float) -> str:
    """Format milliseconds."""
    return f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
