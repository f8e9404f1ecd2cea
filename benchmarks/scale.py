"""What a million connections take, computed from what was measured on one machine.

    python -m benchmarks.scale              # the tables of docs/scale.md
    python -m benchmarks.scale --measure    # first measures what server.json lacks

Reads benchmarks/results/server.json and scale.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from epollo import Connection, Server

RESULTS = Path(__file__).parent / "results"
FILE = RESULTS / "scale.json"
CORES = 8  # of a node: one worker each
MESSAGES = 0.1  # a second and connection
BACK_SECONDS = 30.0  # in which the connections of a node that is lost are opened at the others
BUSY = 0.5  # the part of a core that is planned for
SIZE = 64  # bytes of a published message
GROUP = 100_000  # members
NODES = 3  # of the check
DEADLINE = 30.0  # seconds, for whatever is waited for


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured, medians. Bytes and seconds.

    Attributes:
        memory: of the process, for an idle connection; ``kernel``: of the kernel, for its socket.
        message: CPU of a worker for a message of 64 bytes and its reply.
        opening: the same for a connection that is opened, used once and closed.
        member: CPU of a worker for one member of a published message.
        nats_bytes: what NATS sends to one worker for a published message.
        nats_cpu: CPU of nats-server for a message sent to one worker.
    """

    memory: float
    kernel: float
    message: float
    opening: float
    member: float
    nats_bytes: float
    nats_cpu: float


def constants() -> Constants:
    """Those of the files."""
    samples = json.loads((RESULTS / "server.json").read_text())["samples"]
    own = json.loads(FILE.read_text())["values"]

    def of(part: str, case: str, name: str) -> float:
        key = (part, case, "epollo-native")
        found = [s for s in samples if (s["part"], s["case"], s["server"]) == key]
        return statistics.median(float(sample["values"][name]) for sample in found)

    return Constants(
        memory=of("idle", "memory", "18000"),
        kernel=own["kernel_bytes"],
        message=1 / of("table", "d1", "rate"),
        opening=1 / of("churn", "64B", "rate"),
        member=own["member_seconds"],
        nats_bytes=own["nats_bytes"],
        nats_cpu=own["nats_seconds"],
    )


def deliveries(subscribers: int) -> int:
    """What NATS sends for one published message: one to each process with members, but not to the
    one that published it."""
    return subscribers - 1


def nodes_for(connections: int, known: Constants) -> tuple[int, int]:
    """The nodes that the messages need, and those that opening all connections of a lost node at
    the others needs."""
    core = BUSY * CORES
    messages = math.ceil(connections * MESSAGES * known.message / core)
    nodes = 2
    while connections / nodes / (nodes - 1) * known.opening / BACK_SECONDS > core:
        nodes += 1
    return messages, nodes


def tables() -> str:
    """All that docs/scale.md may say."""
    known, own = constants(), json.loads(FILE.read_text())["values"]
    lines = [
        "| measured | |",
        "|---|---:|",
        f"| memory of the process for an idle connection | {known.memory:.0f} B |",
        f"| memory of the kernel for its socket | {known.kernel:,.0f} B |",
        f"| CPU for a message and its reply | {known.message * 1e6:.1f} µs |",
        f"| CPU to open a connection, use it once and close it | {known.opening * 1e6:.0f} µs |",
        f"| CPU for one member of a group | {known.member * 1e6:.2f} µs |",
        f"| bytes from NATS to one worker for a message of {SIZE} B | {known.nats_bytes:.0f} B |",
        f"| CPU of nats-server for it | {known.nats_cpu * 1e6:.1f} µs |",
        "",
        f"| connections | messages/s | nodes of {CORES} cores, by messages | by openings in "
        f"{BACK_SECONDS:.0f} s | memory of processes | of kernels |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for connections in (1_000_000, 10_000_000):
        messages, openings = nodes_for(connections, known)
        lines.append(
            f"| {connections:,} | {connections * MESSAGES:,.0f} | {messages} | {openings} "
            f"| {connections * known.memory / 2**30:.2f} GiB "
            f"| {connections * known.kernel / 2**30:.1f} GiB |"
        )
    lines += [
        "",
        f"| {GROUP:,} members: nodes | workers | CPU of each for a message | messages/s at "
        f"{BUSY:.0%} of a core | NATS: copies of a message | bytes | CPU |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for nodes in (1, 3, 10, 30):
        workers = nodes * CORES
        each = GROUP / workers * known.member
        copies = deliveries(workers)
        lines.append(
            f"| {nodes} | {workers} | {each * 1e3:.2f} ms | {BUSY / each:,.0f} | {copies} "
            f"| {copies * known.nats_bytes:,.0f} | {copies * known.nats_cpu * 1e6:,.0f} µs |"
        )
    expected, found = deliveries(NODES), own["copies"]
    members = ", ".join(f"{count}" for count in own["members"])
    lines += [
        "",
        f"Check on {NODES} nodes with {members} members: {found:.2f} copies of a message, "
        f"{expected} computed; {own['received']} messages at members, "
        f"{own['published'] * sum(own['members'])} computed.",
    ]
    return "\n".join(lines)


# -- measuring


class Chat:
    """Each connection is a member of one group."""

    def connected(self, connection: Connection) -> None:
        connection.join("all")

    def received(self, message: bytes, connection: Connection) -> None:
        return None


def _connect(server: Server, count: int) -> list[socket.socket]:
    host, _, port = server.addresses[0].rpartition(":")
    found = [socket.create_connection((host, int(port))) for _ in range(count)]
    _until(lambda: len(server.connections) == count)
    return found


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("benchmarks.scale: the deadline passed")
        time.sleep(0.01)


def _drain(sockets: Sequence[socket.socket], size: int) -> None:
    for each in sockets:
        left = size
        while left:
            left -= len(each.recv(left))


def _member_seconds(count: int = 1000, times: int = 20) -> float:
    """CPU of the server's thread for one member. It is published there, as handlers do, and the
    broker with what comes from other nodes."""
    before = {thread.ident for thread in threading.enumerate()}
    with Server(Chat(), "127.0.0.1:0", engine="native") as server:
        clocks = [
            time.pthread_getcpuclockid(thread.ident)
            for thread in threading.enumerate()
            if thread.ident is not None and thread.ident not in before
        ]
        sockets, spent = _connect(server, count), []
        publish = partial(server.publish, "all", b"x" * SIZE)
        for _ in range(times):
            start = sum(map(time.clock_gettime, clocks))
            server._started.call_threadsafe(publish)
            _drain(sockets, SIZE + 4)
            spent.append((sum(map(time.clock_gettime, clocks)) - start) / count)
        for each in sockets:
            each.close()
    return statistics.median(spent)


def _unreclaimable() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("SUnreclaim:"):
            return int(line.split()[1]) << 10
    raise OSError("no SUnreclaim in /proc/meminfo")


def _kernel_bytes(count: int = 3000) -> float:
    """The kernel's memory (SUnreclaim) of one of the two sockets of a connection."""
    with Server(Chat(), "127.0.0.1:0", engine="native") as server:
        before = _unreclaimable()
        sockets = _connect(server, count)
        after = _unreclaimable()
        for each in sockets:
            each.close()
    return (after - before) / count / 2


def _nats(published: int = 2000) -> dict[str, Any]:
    """Three nodes, each a server with members; what NATS counts for the messages of one of them."""
    binary = shutil.which("nats-server")
    if binary is None:
        raise SystemExit("nats-server: not installed; apt install nats-server")
    port, watch = _free_port(), _free_port()
    members = [30, 20, 10]
    with ExitStack() as stack:
        process = subprocess.Popen(
            [binary, "-a", "127.0.0.1", "-p", str(port), "-m", str(watch)],
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        _until_open(watch)
        _until_open(port)
        servers = [
            stack.enter_context(Server(Chat(), "127.0.0.1:0", broker=f"nats://127.0.0.1:{port}"))
            for _ in members
        ]
        sockets = [
            stack.enter_context(each)
            for server, count in zip(servers, members, strict=True)
            for each in _connect(server, count)
        ]
        # Behind its subscription, each node asks the others for their last number.
        _until(lambda: _varz(watch)["subscriptions"] >= NODES)
        _until(lambda: _varz(watch)["in_msgs"] >= NODES)
        before, cpu = _varz(watch), _cpu(process.pid)
        for _ in range(published):
            servers[0].publish("all", b"x" * SIZE)
        _drain(sockets, published * (SIZE + 4))
        after, spent = _varz(watch), _cpu(process.pid) - cpu
    copies = after["out_msgs"] - before["out_msgs"]
    return {
        "members": members,
        "published": published,
        "received": published * len(sockets),
        "copies": copies / published,
        "nats_bytes": (after["out_bytes"] - before["out_bytes"]) / copies,
        "nats_seconds": spent / copies,
    }


def _varz(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/varz") as reply:
        found: dict[str, int] = json.loads(reply.read())
    return found


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _until_open(port: int) -> None:
    _until(lambda: _is_open(port))


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def measure() -> None:
    """Write scale.json."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    values = {
        "member_seconds": _member_seconds(),
        "kernel_bytes": _kernel_bytes(),
        **_nats(),
    }
    document = {"command": "python -m benchmarks.scale --measure", "values": values}
    FILE.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure, and write scale.json")
    if parser.parse_args().measure:
        measure()
    print(tables())


if __name__ == "__main__":
    main()
