"""What is measured. Each case takes one server and returns figures by name."""

import asyncio
import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks.build import CHURN, LOAD
from benchmarks.errors import BenchmarkError
from benchmarks.load import GRACE
from benchmarks.usage import usage
from benchmarks.workers.servers import (
    BURNING,
    ECHO,
    EXACT,
    ONE,
    PLAIN,
    PROCESS,
    SLOTS,
    SPREAD,
    Group,
    Variant,
    running,
)

Values: TypeAlias = dict[str, float]

CONNECTIONS = 100
TIMEOUT = 10.0  # seconds, for any one reply
BLOCKED_SECONDS = 2.5  # of the three for which a worker's loop is blocked: connections arrive
ARRIVALS = 100  # a second


@dataclass(frozen=True, slots=True)
class Plan:
    """How long: rounds, and seconds of each window and of the warm-up before; the two cores."""

    rounds: int
    seconds: float
    warmup: float
    cores: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of measurement, the servers that take turns in it, and their handler. With
    `apart`, the server has one core and the load the other; else both share both."""

    part: str
    name: str
    variants: tuple[Variant, ...]
    handler: str
    measure: Callable[[Group, "Case", Plan], Values]
    apart: bool = False
    options: tuple[str, ...] = ()

    def cores_of(self, variant: Variant, plan: Plan) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the cores of the server, and those of the load: a server of one process that
        serves has one core and the load the other."""
        if self.apart or variant.workers < 2:
            return plan.cores[:1], plan.cores[1:]
        return plan.cores, plan.cores


def measure(case: Case, variant: Variant, plan: Plan) -> Values:
    """Start the server, and return what is measured."""
    with running(variant, case.handler, case.cores_of(variant, plan)[0]) as group:
        return case.measure(group, case, plan)


# ---- Spread


def spread(group: Group, case: Case, plan: Plan) -> Values:
    """Return the connections of the busiest worker over its fair share."""
    ratios = []
    for _ in range(max(1, round(10 * plan.seconds))):
        with ExitStack() as stack:
            peers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", group.port), TIMEOUT))
                for _ in range(CONNECTIONS)
            ]
            served = Counter(map(ask, peers))
        ratios.append(max(served.values()) * len(group.workers) / CONNECTIONS)
        time.sleep(0.1)  # until the ends are counted
    return {"busiest": median(ratios), "worst": max(ratios)}


def ask(peer: socket.socket, message: bytes = b"?") -> bytes:
    """Return the reply to a message."""
    peer.sendall(len(message).to_bytes(4) + message)
    size = int.from_bytes(receive(peer, 4))
    return receive(peer, size)


def receive(peer: socket.socket, size: int) -> bytes:
    """Return so many bytes."""
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise BenchmarkError("a connection ended before its reply")
        data += more
    return data


# ---- While one worker is blocked


def blocked(group: Group, case: Case, plan: Plan) -> Values:
    """Return how long new connections wait for their first reply, in milliseconds."""
    with socket.create_connection(("127.0.0.1", group.port), TIMEOUT) as peer:
        message = b"block"
        peer.sendall(len(message).to_bytes(4) + message)
        time.sleep(0.1)  # its worker has read it
        waits = asyncio.run(arrive(group.port, BLOCKED_SECONDS))
        receive(peer, 4)
    late = sum(wait > 0.1 for wait in waits) / len(waits)
    waits.sort()
    return {
        "late": late,
        "p50_ms": 1e3 * median(waits),
        "p90_ms": 1e3 * waits[int(0.9 * (len(waits) - 1))],
        "most_ms": 1e3 * waits[-1],
    }


async def arrive(port: int, seconds: float) -> list[float]:
    """Return the waits of connections that come at a steady rate."""
    count = round(ARRIVALS * seconds)
    begin = time.monotonic()
    tasks = [visit(port, begin + number / ARRIVALS) for number in range(count)]
    return list(await asyncio.gather(*tasks))


async def visit(port: int, at: float) -> float:
    """Connect at a time; return the seconds from then on until the reply."""
    await asyncio.sleep(at - time.monotonic())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"\0\0\0\1?")
        async with asyncio.timeout(TIMEOUT):
            await reader.readexactly(4)
        return time.monotonic() - at
    finally:
        writer.close()


# ---- Connections and messages per second


def load(program: Path) -> Callable[[Group, Case, Plan], Values]:
    """Return the measurement with a load generator."""

    def loaded(group: Group, case: Case, plan: Plan) -> Values:
        variant = PLAIN if not group.workers else (ONE if len(group.workers) == 1 else SLOTS)
        cores = case.cores_of(variant, plan)[1]
        command = [
            *("taskset", "-c", ",".join(map(str, cores)), str(program)),
            *(f"127.0.0.1:{group.port}", "-c", str(CONNECTIONS), "-s", "64", *case.options),
            *("-d", str(plan.seconds), "--warmup", str(plan.warmup)),
        ]
        return observe(command, group, plan)

    return loaded


def observe(command: list[str], group: Group, plan: Plan) -> Values:
    """Run a load generator; return its rate, and the cores that each side used in its window."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            time.sleep(plan.warmup + 0.05 * plan.seconds)
            sides = {
                "load": (process.pid,),
                "supervisor": (group.main,),
                "server": group.pids,
                "serving": group.workers or (group.main,),
            }
            before, begin = {name: usage(pids) for name, pids in sides.items()}, time.monotonic()
            time.sleep(0.9 * plan.seconds)
            used = {name: usage(pids) - before[name] for name, pids in sides.items()}
            seconds = time.monotonic() - begin
            output, errors = process.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired:
            raise BenchmarkError("the load generator does not end") from None
        finally:
            process.kill()
    if process.returncode:
        raise BenchmarkError((errors.splitlines() or ["the load generator failed"])[-1])
    rate = json.loads(output)["rate"]
    if not rate:
        raise BenchmarkError("no replies")
    return {
        "rate": rate,
        **{f"{name}_cores": each.ran / seconds for name, each in used.items()},
        **{
            f"{name}_ready": min(len(pids), (used[name].ran + used[name].waited) / seconds)
            for name, pids in sides.items()
        },
        "cpu_us": 1e6 * used["server"].ran / seconds / rate,
    }


BOTH = (PLAIN, ONE, SLOTS, EXACT)
SCALED = (ONE, SLOTS)
CASES = (
    Case("spread", "100 connections", SPREAD, PROCESS, spread),
    Case("blocked", "100 connections a second", (SLOTS, EXACT), PROCESS, blocked),
    Case("connections", "all on one core", BOTH, ECHO, load(CHURN), apart=True),
    Case("connections", "two cores", (SLOTS, EXACT), ECHO, load(CHURN)),
    Case("messages", "(100; 1; 64 B)", SCALED, ECHO, load(LOAD), options=("--depth", "1")),
    Case("messages", "(100; 16; 64 B)", SCALED, ECHO, load(LOAD), options=("--depth", "16")),
    Case("messages", "100 µs of CPU", SCALED, BURNING, load(LOAD), options=("--depth", "1")),
)


def turns() -> Iterator[tuple[Case, Variant]]:
    """Yield the turns of a round."""
    for case in CASES:
        for variant in case.variants:
            yield case, variant
