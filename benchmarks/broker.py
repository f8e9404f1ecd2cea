"""What groups across nodes cost: three nodes of epollo next to nats-py alone, in turns.

python -m benchmarks.broker [--quick]

Each is three processes, each at its own server of a cluster of NATS: one publishes, two receive.
The rate is of messages of 64 bytes published as fast as both receivers get all of them. The
latency is from the call that publishes to the moment at which a receiver hands the message on, at a
constant rate. Both processes are on this machine, so they read the same clock. At the end, what a
message costs for each member in one process. Needs nats-server and nats-py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import epollo
from benchmarks.errors import BenchmarkError
from epollo.engine import available

GROUP, SIZE = "bench", 64
COUNT = 20_000  # messages of the rate
BATCH = 100  # published in one turn of the loop
RATE, SECONDS = 500, 2.0  # of the latency
ROUNDS = 7
MEMBERS, MEMBER_ROUNDS = 1000, 1000
LIMIT = 120.0  # seconds, for one step

_STAMP = struct.Struct("!QI")  # nanoseconds, number


class Sink:
    """What a receiver does: note when each message came. As a member of a group, it stands for a
    connection."""

    closed = False

    def __init__(self) -> None:
        self.count = 0
        self.latencies: list[int] = []  # nanoseconds

    def take(self, message: bytes) -> None:
        self.count += 1
        self.latencies.append(time.monotonic_ns() - _STAMP.unpack_from(message)[0])

    def push(self, frame: bytes) -> None:
        self.take(frame[4:])

    def send(self, message: Any) -> None:
        raise AssertionError("its framing is the server's")


def stamped(number: int) -> bytes:
    """Return a message with the present time in it."""
    return _STAMP.pack(time.monotonic_ns(), number).ljust(SIZE, b".")


class Side(Protocol):
    """One process of a kind, which obeys commands on its standard input."""

    def start(self, urls: str) -> None: ...
    def publish(self, count: int, rate: float) -> None: ...
    @property
    def sink(self) -> Sink: ...


class Epollo:
    """A node of epollo."""

    def start(self, urls: str) -> None:
        self.sink = Sink()
        self._server = epollo.Server(broker=urls, bind="127.0.0.1:0", slow_handler=0)
        self._server.__enter__()
        self._server._protocol.groups.join(GROUP, self.sink)

    def publish(self, count: int, rate: float) -> None:
        """Publish in the loop's thread, as handlers do."""
        done: list[bool] = []
        loop = self._server._started
        began, number = time.monotonic(), 0

        def step() -> None:
            nonlocal number
            for _ in range(1 if rate else BATCH):
                self._server.publish(GROUP, stamped(number))
                number += 1
            if number >= count:
                done.append(True)
            elif rate:
                wait = began + number / rate - time.monotonic()
                loop.call_later(max(0.0, wait), step)
            else:
                loop.call_threadsafe(step)

        loop.call_threadsafe(step)
        _wait_for(lambda: done)

    def stop(self) -> None:
        self._server.__exit__(None, None, None)


class Raw:
    """nats-py alone, on a loop of asyncio."""

    def start(self, urls: str) -> None:
        import nats

        self.sink = Sink()
        self._loop = asyncio.new_event_loop()

        async def connect() -> None:
            self._client = await nats.connect(urls.split(","), no_echo=True, dont_randomize=True)

            async def take(message: Any) -> None:
                self.sink.take(message.data)

            await self._client.subscribe(f"raw.{GROUP}", cb=take)
            await self._client.flush()

        self._loop.run_until_complete(connect())

    def publish(self, count: int, rate: float) -> None:
        async def all_of_them() -> None:
            began = time.monotonic()
            for number in range(count):
                await self._client.publish(f"raw.{GROUP}", stamped(number))
                if rate:
                    await asyncio.sleep(began + (number + 1) / rate - time.monotonic())
                elif number % BATCH == 0:
                    await asyncio.sleep(0)
            await self._client.flush()

        self._loop.run_until_complete(all_of_them())

    def run_for(self, seconds: float) -> None:
        self._loop.run_until_complete(asyncio.sleep(seconds))

    def stop(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


def _wait_for(condition: Callable[[], object]) -> None:
    late = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > late:
            raise BenchmarkError("the deadline passed")
        time.sleep(0.001)


def child(kind: str, urls: str) -> None:
    """One process: obey the commands on standard input, a line of JSON each."""
    side: Any = Epollo() if kind == "epollo" else Raw()
    side.start(urls)
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "publish":
            side.publish(command["count"], command["rate"])
            print(json.dumps({}), flush=True)
        elif command["do"] == "receive":
            late = time.monotonic() + command["limit"]
            while side.sink.count < command["count"] and time.monotonic() < late:
                if kind == "raw":
                    side.run_for(0.002)
                else:
                    time.sleep(0.002)
            print(
                json.dumps(
                    {
                        "at": time.monotonic(),
                        "count": side.sink.count,
                        "latencies": side.sink.latencies,
                    }
                ),
                flush=True,
            )
            side.sink.count, side.sink.latencies = 0, []
    side.stop()


class Process:
    """A child, and what it says."""

    def __init__(self, kind: str, urls: str) -> None:
        command = [sys.executable, "-m", "benchmarks.broker", "--child", kind, "--urls", urls]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._line() != "ready\n":
            raise BenchmarkError(f"{kind} did not start")

    def ask(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(LIMIT)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Trio:
    """A publisher and two receivers of one kind."""

    def __init__(self, kind: str, urls: Sequence[str], stack: ExitStack) -> None:
        self._all = [Process(kind, url) for url in urls]
        for each in self._all:
            stack.callback(each.close)
        self._publisher, *self._receivers = self._all
        until_heard = 0
        while not until_heard:  # until both have it: then the subscriptions are known everywhere
            counts = self.run(50, RATE, limit=3.0)[1]
            until_heard = min(len(each) for each in counts) == 50

    def run(self, count: int, rate: float, limit: float = LIMIT) -> tuple[float, list[list[int]]]:
        """Seconds until both receivers had all, and the latencies of each."""
        for each in self._receivers:
            each.ask(do="receive", count=count, limit=limit)
        began = time.monotonic()
        self._publisher.ask(do="publish", count=count, rate=rate)
        self._publisher.answer()
        answers = [each.answer() for each in self._receivers]
        return max(each["at"] for each in answers) - began, [each["latencies"] for each in answers]


@contextmanager
def nats_cluster() -> Iterator[list[str]]:
    """The URLs of three servers in a cluster."""
    ports = [[_free_port() for _ in range(3)] for _ in range(3)]
    routes = ",".join(f"nats://127.0.0.1:{cluster}" for _, cluster, _ in ports)
    with ExitStack() as stack:
        for at, (port, cluster, monitor) in enumerate(ports):
            process = subprocess.Popen(
                [
                    "nats-server",
                    "-a",
                    "127.0.0.1",
                    "-p",
                    str(port),
                    "-m",
                    str(monitor),
                    "-n",
                    f"nats-{at}",
                    "--cluster_name",
                    "bench",
                    "--cluster",
                    f"nats://127.0.0.1:{cluster}",
                    "--routes",
                    routes,
                ],
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        for port, _, monitor in ports:
            _wait_for(partial(_listens, port))
            _wait_for(partial(_has_routes, monitor, len(ports) - 1))
        yield [f"nats://127.0.0.1:{port}" for port, _, _ in ports]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _has_routes(monitor: int, count: int) -> bool:
    """Is the server whose monitoring is at that port connected to so many others?"""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/routez") as reply:
            routes = json.loads(reply.read())["routes"]
    except OSError:
        return False
    return len({each["remote_id"] for each in routes}) == count


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class MemberCost:
    """Microseconds of CPU time of the loop's thread that one message takes for one member."""

    user: float  # what the server computes
    kernel: float  # nearly all for `send`
    publish: float  # of both, in the call of ``publish``


def per_member(engine: str, members: int = MEMBERS, rounds: int = MEMBER_ROUNDS) -> MemberCost:
    """Return what a member costs in one process. The members' ends are read by another process.

    A kernel that counts by ticks divides its exact total into user and kernel by samples: 250 a
    second, as a rule. So it takes some seconds to be exact.
    """

    class Room:
        def connected(self, connection: epollo.Connection) -> None:
            connection.join(GROUP)

        def received(self, message: bytes) -> None: ...

    publish_seconds = 0.0
    usages: list[resource.struct_rusage] = []
    server = epollo.Server(Room(), "127.0.0.1:0", engine=engine, slow_handler=0, backlog=4096)
    with server, ExitStack() as stack:
        reader = os.fork()
        if not reader:
            _read_all(server.addresses[0], members)
        stack.callback(os.waitpid, reader, 0)
        stack.callback(os.kill, reader, 9)
        _wait_for(lambda: len(server.connections) == members)
        loop, message, done = server._started, bytes(SIZE), threading.Event()

        def publish() -> None:
            nonlocal publish_seconds
            usages.append(resource.getrusage(resource.RUSAGE_THREAD))
            if len(usages) > rounds:
                done.set()
                return
            began = time.thread_time()
            server.publish(GROUP, message)
            publish_seconds += time.thread_time() - began
            loop.call_later(0, publish)  # in the next turn, when all is sent

        loop.call_threadsafe(publish)
        if not done.wait(LIMIT):
            raise BenchmarkError("the deadline passed")
    first, last = usages[0], usages[-1]
    spent = (last.ru_utime - first.ru_utime, last.ru_stime - first.ru_stime, publish_seconds)
    return MemberCost(*(1e6 * seconds / rounds / members for seconds in spent))


def _read_all(address: str, count: int) -> None:
    """In a forked process: connect so often, and read what comes, until killed."""
    host, _, port = address.rpartition(":")
    with selectors.EpollSelector() as selector:
        for _ in range(count):
            sock = socket.create_connection((host, int(port)))
            selector.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                key.fileobj.recv(1 << 16)  # type: ignore[union-attr]


def milliseconds(latencies: Sequence[int], part: float) -> float:
    """Return that quantile."""
    return sorted(latencies)[min(len(latencies) - 1, int(part * len(latencies)))] / 1e6


def compare(rounds: int, count: int, seconds: float) -> Iterator[str]:
    """The lines of the report."""
    rates: dict[str, list[float]] = {"epollo": [], "raw": []}
    latencies: dict[str, list[tuple[float, float]]] = {"epollo": [], "raw": []}
    with nats_cluster() as urls, ExitStack() as stack:
        trios = {kind: Trio(kind, urls, stack) for kind in rates}
        for _ in range(rounds):
            for kind, trio in trios.items():
                took, _ = trio.run(count, 0)
                rates[kind].append(count / took)
                _, got = trio.run(int(RATE * seconds), RATE)
                both = [each for latencies in got for each in latencies]
                latencies[kind].append((milliseconds(both, 0.5), milliseconds(both, 0.99)))
    for kind, name in (("epollo", "epollo, three nodes"), ("raw", "nats-py alone")):
        medians = [statistics.median(each) for each in zip(*latencies[kind], strict=True)]
        yield (
            f"{name:<20} {statistics.median(rates[kind]):>7,.0f} messages/s "
            f"({min(rates[kind]):,.0f} to {max(rates[kind]):,.0f}); at {RATE}/s: "
            f"median {medians[0]:.2f} ms, 99th percentile {medians[1]:.2f} ms"
        )
    ratios = sorted(one / other for one, other in zip(rates["epollo"], rates["raw"], strict=True))
    more = [e[0] - r[0] for e, r in zip(latencies["epollo"], latencies["raw"], strict=True)]
    cost = [1e6 / e - 1e6 / r for e, r in zip(rates["epollo"], rates["raw"], strict=True)]
    yield (
        f"epollo to nats-py, in turns: {statistics.median(ratios):.2f} of the rate "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} rounds), "
        f"{statistics.median(cost):+.1f} µs a message; "
        f"median latency {1000 * statistics.median(more):+.0f} µs"
    )


def main() -> None:
    """Print the comparison, and the cost of a member."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--child", choices=["epollo", "raw"], help=argparse.SUPPRESS)
    parser.add_argument("--urls", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.urls)
        return
    rounds, count, seconds = (1, 2000, 0.5) if given.quick else (ROUNDS, COUNT, SECONDS)
    for line in compare(rounds, count, seconds):
        print(line, flush=True)
    for engine in available():
        cost = per_member(engine, *((200, 1000) if given.quick else ()))
        print(
            f"one process, {engine} engine: {cost.user:.2f} µs of user time a member, and "
            f"{cost.kernel:.2f} µs of the kernel's; {cost.publish:.2f} µs of them in publish"
        )


if __name__ == "__main__":
    main()
